import type { Redis } from 'ioredis'

/**
 * Options of a connection beside the main one, to the same server. It fails instead of waiting, and its owner opens it
 * again.
 *
 * @param replyTimeoutMs Maximum time to connect and for each reply, in milliseconds.
 */
export const sideConnectionOptions = (replyTimeoutMs: number) =>
  ({
    lazyConnect: true,
    retryStrategy: null,
    sentinelRetryStrategy: () => null,
    // The main connection detects a failover, and its loss ends this one.
    failoverDetector: false,
    autoResubscribe: false,
    maxRetriesPerRequest: 0,
    connectTimeout: replyTimeoutMs,
    commandTimeout: replyTimeoutMs,
  }) as const

export interface ConnectionWatch {
  /** Settles as `work` does, but rejects as soon as one of the connections is closed, or if one was. */
  readonly whileOpen: <T>(work: Promise<T>) => Promise<T>
  readonly stop: () => void
}

/** Watches whether any of `connections` is closed, until `stop` is called. */
export function watchConnections(connections: readonly Redis[]): ConnectionWatch {
  let loss: Error | undefined
  // Not a promise to race with: it would keep something of each race for as long as the connection lasts.
  const waiting = new Set<(error: Error) => void>()
  const onClose = () => {
    loss ??= new Error('a connection was closed')
    for (const reject of waiting) reject(loss)
  }
  for (const connection of connections) connection.on('close', onClose)
  return {
    whileOpen: (work) =>
      new Promise((resolve, reject) => {
        if (loss) reject(loss)
        waiting.add(reject)
        work.then(resolve, reject).finally(() => waiting.delete(reject))
      }),
    stop: () => {
      for (const connection of connections) connection.off('close', onClose)
    },
  }
}
