const ends = new Set<() => void>()
let isListening = false

/**
 * Calls `end` when this process exits, also by `process.exit` or an uncaught error. Not when it is killed.
 *
 * @returns A function that cancels this.
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
