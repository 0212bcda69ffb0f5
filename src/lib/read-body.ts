import type { IncomingMessage } from 'node:http'

export interface BodyLimits {
  /** Largest body, in bytes. */
  readonly maxBytes: number
  /** Most pieces that one may arrive in: each costs far more than the byte that may be all it holds. */
  readonly maxChunks: number
  /** Most bytes of all bodies that are held at a time. */
  readonly maxHeldBytes: number
}

/** Why there is no body: it is larger than it may be, there is no room for it now, or the client went away. */
export type NoBody = 'too large' | 'no room' | 'aborted'

/** A new buffer has room for this many bytes. */
const MIN_CAPACITY = 1_024

/** Reads the bodies of requests, by counting their bytes: what `Content-Length` promises is not relied on. */
export class BodyReader {
  readonly #limits: BodyLimits
  #held = 0

  constructor(limits: BodyLimits) {
    this.#limits = limits
  }

  /**
   * The body of `request`, which counts as held until it is released. Of one that is refused the rest is read and
   * forgotten: a client that is still sending would else see a broken connection, and not the response.
   */
  read(request: IncomingMessage): Promise<Buffer | NoBody> {
    return new Promise((resolve) => {
      let body = NOTHING
      let size = 0
      let chunks = 0
      let isOver = false
      const end = (result: Buffer | NoBody): void => {
        if (isOver) return
        isOver = true
        if (typeof result === 'string') {
          this.#held -= body.length
          request.removeListener('data', add).resume()
        } else this.#held += result.length - body.length
        body = NOTHING
        resolve(result)
      }
      const add = (chunk: Buffer): void => {
        chunks += 1
        const needed = size + chunk.length
        if (needed > this.#limits.maxBytes || chunks > this.#limits.maxChunks) end('too large')
        // All of it at once: no copy is needed.
        else if (chunk.length === expected) end(chunk)
        else if (needed > body.length && !grow(needed)) end('no room')
        else {
          chunk.copy(body, size)
          size = needed
        }
      }
      const grow = (needed: number): boolean => {
        const capacity = Math.min(this.#limits.maxBytes, Math.max(MIN_CAPACITY, 2 * needed))
        const more = capacity - body.length
        if (this.#held + more > this.#limits.maxHeldBytes) return false
        this.#held += more
        const larger = Buffer.allocUnsafeSlow(capacity)
        body.copy(larger, 0, 0, size)
        body = larger
        return true
      }
      const expected = Number(request.headers['content-length'] ?? -1)
      request.on('data', add)
      request.on('end', () => end(body.subarray(0, size)))
      request.on('error', () => end('aborted'))
      request.on('close', () => {
        if (!request.complete) end('aborted')
      })
      if (expected > this.#limits.maxBytes) end('too large')
    })
  }

  /** Makes room: `body` is not needed any more. */
  release(body: Buffer): void {
    this.#held -= body.length
  }

  /** Bytes that are held now. */
  get heldBytes(): number {
    return this.#held
  }
}

const NOTHING = Buffer.alloc(0)
