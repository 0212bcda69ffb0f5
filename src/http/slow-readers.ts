import type { Socket } from 'node:net'
import { systemClock } from '../lib/clock.ts'

export interface ReadingLimits {
  /** How long a client may leave a response unread, in milliseconds. */
  readonly stallTimeoutMs: number
  /** Bytes that a client must read in a second, on the average from when responses began to wait for it. */
  readonly minBytesPerSecond: number
}

/** When responses began to wait for a client, and how many bytes it had been sent until then. */
interface Backlog {
  readonly beganAt: number
  readonly sentBytes: number
}

/**
 * Finds clients that read so slowly that their connection would be held for ever. One that reads nothing at all shows
 * by itself; one that reads a few bytes at a time is always about to go on.
 */
export class SlowReaders {
  readonly #limits: ReadingLimits
  readonly #backlogs = new WeakMap<Socket, Backlog>()

  constructor(limits: ReadingLimits) {
    this.#limits = limits
  }

  /** Closes the connections among `sockets` whose clients are too slow. To be called at intervals. */
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
    // What waits counts too: a large response that is on its way may take its time.
    const bytes = socket.bytesWritten - backlog.sentBytes
    const allowedMs = this.#limits.stallTimeoutMs + (1_000 * bytes) / this.#limits.minBytesPerSecond
    return now - backlog.beganAt > allowedMs
  }
}
