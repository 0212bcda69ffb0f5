/** The arguments of a command contradict each other. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}
