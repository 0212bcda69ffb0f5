import type { ServerResponse } from 'node:http'

/** A response that is ready to be written. */
export interface PreparedResponse {
  readonly status: number
  readonly headers: Record<string, string>
  readonly body: string | Buffer
}

/**
 * Writes a response after all requests that arrived together have been handled: a client or proxy with many connections
 * then wakes once for all of its responses.
 */
export function writeResponse(response: ServerResponse, { status, headers, body }: PreparedResponse): void {
  setImmediate(() => response.writeHead(status, headers).end(body))
}

/** Writes a response that must not be stored. */
export function respond(
  response: ServerResponse,
  status: number,
  body: string,
  type = 'text/plain; charset=utf-8',
): void {
  response.writeHead(status, { 'Content-Type': type, 'Cache-Control': 'no-store' }).end(body)
}
