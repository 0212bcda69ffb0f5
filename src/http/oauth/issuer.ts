import type { IncomingMessage } from 'node:http'
import { isIP } from 'node:net'
import type { Config } from '../../config/config.ts'
import { normalizeAddress } from '../../lib/normalize-address.ts'

/**
 * Returns the URL of this authorization server: `PUBLIC_URL`, or outside production where the connection of `request`
 * arrived. Nothing that the client sent is part of it: a forged `Host` would have other clients send their tokens elsewhere.
 *
 * @returns `undefined` in production without `PUBLIC_URL`, or where the socket is closed.
 */
export function issuerOf(
  { publicUrl, isProduction }: Pick<Config, 'publicUrl' | 'isProduction'>,
  { socket }: Pick<IncomingMessage, 'socket'>,
): string | undefined {
  if (publicUrl !== undefined || isProduction) return publicUrl
  const { localAddress, localPort } = socket
  if (localAddress === undefined) return undefined
  const address = normalizeAddress(localAddress)
  return `http://${isIP(address) === 6 ? `[${address}]` : address}:${localPort}`
}
