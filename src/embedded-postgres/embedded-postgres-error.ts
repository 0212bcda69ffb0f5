/** The embedded PostgreSQL cannot be used. The message is one line for the operator, with the remedy. */
export class EmbeddedPostgresError extends Error {
  override readonly name = 'EmbeddedPostgresError'
}
