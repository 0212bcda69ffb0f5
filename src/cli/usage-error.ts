/** The arguments of a command do not go together. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}
