/** What some work waits for, and the way to end the wait. */
export interface Gate {
  readonly opened: Promise<void>
  readonly open: () => void
}

export function makeGate(): Gate {
  let open: () => void = () => undefined
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  return { opened, open: () => open() }
}

/** Work that a test holds up: a rejection counts once the test awaits it. */
export const heldUp = <T>(work: Promise<T>): Promise<T> => {
  work.catch(() => undefined)
  return work
}
