import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

/** What a service behind a gateway received. */
export interface ReceivedRequest {
  readonly method: string
  readonly url: string
  /** Names, in lower case, and values in turn, as they came. */
  readonly rawHeaders: readonly string[]
  readonly body: string
}

/** A service that keeps what it receives. */
export interface ProtectedService {
  readonly port: number
  readonly received: ReceivedRequest[]
  close(): Promise<void>
}

/** Starts a service that answers every request with 200. */
export async function openProtectedService(): Promise<ProtectedService> {
  const received: ReceivedRequest[] = []
  // As much as the gateways send.
  const server = createServer({ maxHeaderSize: 128 * 1024 }, async (request, response) => {
    let body = ''
    for await (const part of request.setEncoding('utf8')) body += part
    const { method = '', url = '', rawHeaders } = request
    received.push({
      method,
      url,
      rawHeaders: rawHeaders.map((text, index) => (index % 2 === 0 ? text.toLowerCase() : text)),
      body,
    })
    response.end('served')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    received,
    close: async () => {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

/** The values of a header of a received request, in order. */
export const valuesOfReceived = ({ rawHeaders }: ReceivedRequest, name: string): readonly string[] =>
  rawHeaders.filter((_value, index) => index % 2 === 1 && rawHeaders[index - 1] === name)
