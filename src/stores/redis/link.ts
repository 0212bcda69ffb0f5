import type { Redis } from 'ioredis'

/**
 * Options of a connection beside the client's own: it leads where that leads, fails instead of waiting, and is
 * opened again by whoever uses it.
 *
 * @param silenceMs How long the server may take for one reply, in milliseconds.
 */
export const linkOptions = (silenceMs: number) =>
  ({
    lazyConnect: true,
    retryStrategy: null,
    sentinelRetryStrategy: () => null,
    // The client itself follows a failover, and these follow the client.
    failoverDetector: false,
    autoResubscribe: false,
    maxRetriesPerRequest: 0,
    connectTimeout: silenceMs,
    commandTimeout: silenceMs,
  }) as const

export interface Loss {
  /** As `work`, but rejects as soon as one of the connections is closed, or where one has been. */
  readonly until: <T>(work: Promise<T>) => Promise<T>
  readonly ignore: () => void
}

/** Watches for the loss of any of `connections`. */
export function lossOf(connections: readonly Redis[]): Loss {
  let loss: Error | undefined
  // Not a promise to race with: that would keep something of each race for as long as the connection lasts.
  const waiting = new Set<(error: Error) => void>()
  const onClose = () => {
    loss ??= new Error('a connection was closed')
    for (const reject of waiting) reject(loss)
  }
  for (const connection of connections) connection.on('close', onClose)
  return {
    until: (work) =>
      new Promise((resolve, reject) => {
        if (loss) reject(loss)
        waiting.add(reject)
        work.then(resolve, reject).finally(() => waiting.delete(reject))
      }),
    ignore: () => {
      for (const connection of connections) connection.off('close', onClose)
    },
  }
}
