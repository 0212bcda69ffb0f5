import { type Certificate, makeCertificates } from './certificates.ts'
import { onServer, type RedisProcess, startRedis } from './redis.ts'

/** A Redis that speaks TLS, and shows a certificate that can be changed while it runs. */
export interface TlsRedis {
  /** `rediss://`. */
  readonly url: string
  /** File of the authority that the right certificate is from. */
  readonly authority: string
  /** For the test itself, without TLS. */
  readonly process: RedisProcess
  /** Shows `certificate` from now on, and closes all connections of clients. */
  show(certificate: Certificate): Promise<void>
  stop(): Promise<void>
}

export async function startTlsRedis(tlsPort: number): Promise<TlsRedis> {
  const certificates = await makeCertificates()
  const tls = [
    '--tls-port',
    String(tlsPort),
    '--tls-auth-clients',
    'no',
    '--tls-ca-cert-file',
    certificates.authority,
  ]
  const shown = [
    '--tls-cert-file',
    certificates.certificateFile('right'),
    '--tls-key-file',
    certificates.keyFile('right'),
  ]
  const server = await startRedis({ args: [...tls, ...shown] })
  return {
    url: `rediss://localhost:${tlsPort}`,
    authority: certificates.authority,
    process: server,
    show: (certificate) =>
      onServer(server.port, async (redis) => {
        const [pem, key] = [certificates.certificateFile(certificate), certificates.keyFile(certificate)]
        await redis.call('CONFIG', 'SET', 'tls-cert-file', pem, 'tls-key-file', key)
        await redis.call('CLIENT', 'KILL', 'TYPE', 'normal')
        await redis.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
      }),
    stop: async () => {
      await server.stop()
      await certificates.remove()
    },
  }
}
