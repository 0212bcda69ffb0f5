import { once } from 'node:events'
import { type IncomingHttpHeaders, type IncomingMessage, type RequestOptions, request } from 'node:http'

export interface HttpAnswer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

/**
 * Sends a request as it is told, by one write for each chunk: without a `Content-Length` in `headers`, more
 * than one chunk makes a chunked body. An answer that comes before the body is sent counts.
 */
export async function send(
  url: string,
  options: RequestOptions = {},
  chunks: readonly (string | Buffer)[] = [],
): Promise<HttpAnswer> {
  const sent = request(url, { agent: false, ...options })
  const answered = once(sent, 'response') as Promise<[IncomingMessage]>
  // A server that has answered may hang up on the rest of the body.
  sent.on('error', () => undefined)
  for (const chunk of chunks) sent.write(chunk)
  sent.end()
  const [response] = await answered
  let body = ''
  for await (const part of response.setEncoding('utf8')) body += part
  return { status: response.statusCode ?? 0, headers: response.headers, body }
}
