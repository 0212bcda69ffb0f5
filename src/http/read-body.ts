import type { IncomingMessage } from 'node:http'

export interface BodyLimits {
  /** Maximum size of a body, in bytes. */
  readonly maxBytes: number
  /** Maximum number of chunks of a body: a chunk costs far more than the single byte that it may hold. */
  readonly maxChunks: number
  /** Maximum size of all bodies that are held at a time, in bytes. */
  readonly maxHeldBytes: number
}

/** Why there is no body: it is too large, too many bytes are held, or the client closed the connection. */
export type NoBody = 'too large' | 'no room' | 'aborted'

/** Initial capacity of a buffer, in bytes. */
const MIN_CAPACITY = 1_024

/** Reads the bodies of requests. It counts their bytes and does not rely on `Content-Length`. */
export class BodyReader {
  readonly #limits: BodyLimits
  #held = 0

  constructor(limits: BodyLimits) {
    this.#limits = limits
  }

  /**
   * Reads the body of `request`, which counts as held until `release`. The rest of a refused body is read and discarded:
   * otherwise a client that is still sending would see a broken connection instead of the response.
   */
  read(request: IncomingMessage): Promise<Buffer | NoBody> {
    return new Promise((resolve) => {
      let body = NOTHING
      let size = 0
      let chunks = 0
      let hasEnded = false
      const end = (result: Buffer | NoBody): void => {
        if (hasEnded) return
        hasEnded = true
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
        // The whole body in one chunk needs no copy.
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

  /** Ends the hold of `body`, which the caller no longer needs. */
  release(body: Buffer): void {
    this.#held -= body.length
  }

  /** Total size of the bodies that are held now, in bytes. */
  get heldBytes(): number {
    return this.#held
  }
}

const NOTHING = Buffer.alloc(0)
