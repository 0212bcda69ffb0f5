/** The embedded PostgreSQL cannot be used. The message is for the operator: one line that says what would be right. */
export class EmbeddedPostgresError extends Error {
  override readonly name = 'EmbeddedPostgresError'
}
