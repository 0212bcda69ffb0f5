const ends = new Set<() => void>()
let isListening = false

/**
 * Calls `end` when this process exits in whatever way lets it do something still: a fault that nobody caught, or
 * `process.exit`. Not when it is killed.
 *
 * @returns What takes that back.
 */
export function endWithProcess(end: () => void): () => void {
  ends.add(end)
  if (!isListening) {
    isListening = true
    process.on('exit', () => {
      for (const each of ends) each()
    })
  }
  return () => {
    ends.delete(end)
  }
}
