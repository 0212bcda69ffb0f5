import type { IncomingMessage } from 'node:http'

/**
 * The body of a request, by counting its bytes: what `Content-Length` promises is not relied on.
 *
 * @returns `too large` for one of more than `most` bytes, the rest of which is read and forgotten: a client that is
 *   still sending would else hear of a broken connection, and not of the answer. `aborted` where the client went away.
 */
export function readBody(request: IncomingMessage, most: number): Promise<Buffer | 'too large' | 'aborted'> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = []
    let size = 0
    const refuse = () => {
      request.removeAllListeners('data').resume()
      resolve('too large')
    }
    request.on('data', (chunk: Buffer) => {
      size += chunk.length
      if (size <= most) chunks.push(chunk)
      else refuse()
    })
    request.on('end', () => resolve(chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks)))
    request.on('error', () => resolve('aborted'))
    request.on('close', () => {
      if (!request.complete) resolve('aborted')
    })
    if (Number(request.headers['content-length'] ?? 0) > most) refuse()
  })
}
