import type { Socket } from 'node:net'
import { systemClock } from '../lib/clock.ts'

export interface ReadingLimits {
  /** Maximum time for which a client may leave a response unread, in milliseconds. */
  readonly stallTimeoutMs: number
  /** Minimum average rate at which a client must read, in bytes per second, since responses began to wait. */
  readonly minBytesPerSecond: number
}

/** Time at which responses began to wait for a client, and the bytes sent to it until then. */
interface Backlog {
  readonly beganAt: number
  readonly sentBytes: number
}

/**
 * Finds clients that read too slowly. The timeout of the socket finds a client that reads nothing, but not one that reads a
 * few bytes at a time.
 */
export class SlowReaders {
  readonly #limits: ReadingLimits
  readonly #backlogs = new WeakMap<Socket, Backlog>()

  constructor(limits: ReadingLimits) {
    this.#limits = limits
  }

  /** Closes those of `sockets` whose clients are too slow. Must be called at intervals. */
  close(sockets: Iterable<Socket>): void {
    const now = systemClock.monotonicMs()
    for (const socket of sockets) {
      if (socket.writableLength === 0) this.#backlogs.delete(socket)
      else if (this.#isTooSlow(socket, now)) socket.destroy()
    }
  }

  #isTooSlow(socket: Socket, now: number): boolean {
    const backlog = this.#backlogs.get(socket)
    if (!backlog) {
      this.#backlogs.set(socket, { beganAt: now, sentBytes: socket.bytesWritten - socket.writableLength })
      return false
    }
    // Waiting bytes count too: a large response gets time in proportion to its size.
    const bytes = socket.bytesWritten - backlog.sentBytes
    const allowedMs = this.#limits.stallTimeoutMs + (1_000 * bytes) / this.#limits.minBytesPerSecond
    return now - backlog.beganAt > allowedMs
  }
}
