/** SQLSTATE `unique_violation`. */
const UNIQUE_VIOLATION = '23505'

/** Whether `error` is Prisma's error for a violated unique constraint. */
export function isUniqueViolation(error: unknown): boolean {
  const { meta } = error as { meta?: { driverAdapterError?: { cause?: { originalCode?: string } } } }
  return meta?.driverAdapterError?.cause?.originalCode === UNIQUE_VIOLATION
}
