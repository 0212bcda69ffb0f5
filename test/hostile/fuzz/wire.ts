import { connect } from 'node:net'

/** How long any response may take, in milliseconds. */
const ANSWER_TIMEOUT_MS = 10_000

/** What came back for the bytes of a request. */
export interface Reply {
  readonly status: number
  /** By names in lower case. */
  readonly headers: ReadonlyMap<string, string>
  readonly body: string
}

export interface Sending {
  /** Whether to close our side after the last byte: a server would else wait for what is missing. */
  readonly isEnded: boolean
  /** Whether the response has no body, as to `HEAD`. */
  readonly hasNoBody: boolean
}

/**
 * Sends bytes on a connection of their own, and resolves with the first final response to them; with `undefined` where
 * the connection was closed without one.
 *
 * @throws {Error} There was neither within the time that any response may take.
 */
export function exchange(
  port: number,
  bytes: Buffer,
  { isEnded, hasNoBody }: Sending,
): Promise<Reply | undefined> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
    const reader = new ReplyReader(hasNoBody)
    const end = (reply: Reply | undefined) => {
      clearTimeout(late)
      socket.destroy()
      resolve(reply)
    }
    const late = setTimeout(() => {
      socket.destroy()
      reject(new Error(`no response within ${ANSWER_TIMEOUT_MS} ms, but: ${reader.head.slice(0, 500)}`))
    }, ANSWER_TIMEOUT_MS)
    socket.on('data', (part) => {
      const reply = reader.read(part)
      if (reply) end(reply)
    })
    socket.on('end', () => end(reader.close()))
    // A server that has refused a request may hang up on the rest of it.
    socket.on('error', () => end(reader.close()))
    if (isEnded) socket.end(bytes)
    else socket.write(bytes)
  })
}

/** Reads the first final response of a connection; what follows it is left. */
class ReplyReader {
  readonly #hasNoBody: boolean
  readonly #parts: Buffer[] = []
  #length = 0
  /** From which length on it is worth looking again. */
  #wanted = 0
  #headers: ReadonlyMap<string, string> | undefined
  #status = 0
  head = ''

  constructor(hasNoBody: boolean) {
    this.#hasNoBody = hasNoBody
  }

  /** The response, once it is whole. */
  read(part: Buffer): Reply | undefined {
    this.#parts.push(part)
    this.#length += part.length
    return this.#length < this.#wanted ? undefined : this.#look(false)
  }

  /** The response that ends with the connection, if any. */
  close(): Reply | undefined {
    return this.#look(true)
  }

  #look(isClosed: boolean): Reply | undefined {
    const bytes = Buffer.concat(this.#parts)
    if (!this.#headers) return this.#lookForHead(bytes, isClosed)
    const body = this.#body(bytes, this.#headers, isClosed)
    return body === undefined ? undefined : { status: this.#status, headers: this.#headers, body }
  }

  #lookForHead(bytes: Buffer, isClosed: boolean): Reply | undefined {
    const end = bytes.indexOf('\r\n\r\n')
    if (end < 0) return undefined
    this.head = bytes.subarray(0, end).toString('latin1')
    this.#parts.splice(0, Number.POSITIVE_INFINITY, bytes.subarray(end + 4))
    this.#length -= end + 4
    const [statusLine = '', ...fields] = this.head.split('\r\n')
    this.#status = Number(/^HTTP\/1\.[01] (\d{3})\b/.exec(statusLine)?.[1])
    // 100 Continue and its like come before the response.
    if (this.#status < 200 && this.#status !== 101) return this.#look(isClosed)
    this.#headers = new Map(
      fields.map((field) => {
        const colon = field.indexOf(':')
        return [field.slice(0, colon).toLowerCase(), field.slice(colon + 1).trim()] as const
      }),
    )
    return this.#look(isClosed)
  }

  #body(bytes: Buffer, headers: ReadonlyMap<string, string>, isClosed: boolean): string | undefined {
    if (this.#hasNoBody || this.#status === 204 || this.#status === 304) return ''
    const length = headers.get('content-length')
    if (length !== undefined) {
      this.#wanted = Number(length)
      return bytes.length >= this.#wanted ? bytes.subarray(0, this.#wanted).toString('utf8') : undefined
    }
    if (headers.get('transfer-encoding') === 'chunked') return unchunk(bytes)
    return isClosed ? bytes.toString('utf8') : undefined
  }
}

/** The body in chunks; `undefined` while its last one has not come. */
function unchunk(bytes: Buffer): string | undefined {
  const chunks: Buffer[] = []
  for (let at = 0; ; ) {
    const lineEnd = bytes.indexOf('\r\n', at)
    if (lineEnd < 0) return undefined
    const size = Number.parseInt(bytes.subarray(at, lineEnd).toString('latin1'), 16)
    if (!(size > 0)) return Buffer.concat(chunks).toString('utf8')
    chunks.push(bytes.subarray(lineEnd + 2, lineEnd + 2 + size))
    at = lineEnd + 2 + size + 2
  }
}
