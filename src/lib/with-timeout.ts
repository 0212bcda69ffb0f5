/**
 * Settles as `work` does, or rejects with the error that `createError` returns when `limitMs` have passed. `work` is not
 * cancelled then, and its result or error is ignored.
 */
export async function withTimeout<T>(
  work: Promise<T>,
  limitMs: number,
  createError: () => Error,
): Promise<T> {
  if (limitMs === Number.POSITIVE_INFINITY) return work
  let timer: NodeJS.Timeout | undefined
  const timeout = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(createError()), Math.max(0, limitMs))
  })
  try {
    return await Promise.race([work, timeout])
  } finally {
    clearTimeout(timer)
  }
}
