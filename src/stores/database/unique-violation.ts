/** PostgreSQL's SQLSTATE for a value that must be unique and is not. */
const UNIQUE_VIOLATION = '23505'

/** Whether `error` is Prisma's word for one. */
export function isUniqueViolation(error: unknown): boolean {
  const { meta } = error as { meta?: { driverAdapterError?: { cause?: { originalCode?: string } } } }
  return meta?.driverAdapterError?.cause?.originalCode === UNIQUE_VIOLATION
}
