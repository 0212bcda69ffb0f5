import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { onServer, type RedisProcess, startRedis } from './redis.ts'

const run = promisify(execFile)

/** Kinds of certificate that the server can show. */
export type Certificate = 'right' | 'expired' | 'of another authority' | 'of another name'

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

const KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'] as const

export async function startTlsRedis(tlsPort: number): Promise<TlsRedis> {
  const dir = await mkdtemp(join(tmpdir(), 'porthor-tls-'))
  const file = (name: string) => join(dir, name)
  const openssl = (...args: readonly string[]) => run('openssl', args)
  const authority = (name: string) =>
    openssl(
      'req',
      '-x509',
      ...KEY,
      '-keyout',
      file(`${name}.key`),
      '-out',
      file(`${name}.pem`),
      '-subj',
      `/CN=${name}`,
    )
  const sign = async (name: string, by: string, host: string, days: string) => {
    const request = ['-keyout', file(`${name}.key`), '-out', file(`${name}.csr`), '-subj', `/CN=${host}`]
    await openssl('req', ...KEY, ...request, '-addext', `subjectAltName=DNS:${host}`)
    const signer = ['-CA', file(`${by}.pem`), '-CAkey', file(`${by}.key`), '-CAcreateserial']
    const out = ['-out', file(`${name}.pem`), '-days', days, '-copy_extensions', 'copy']
    await openssl('x509', '-req', '-in', file(`${name}.csr`), ...signer, ...out)
  }
  await Promise.all([authority('ours'), authority('another')])
  await sign('right', 'ours', 'localhost', '1')
  await sign('expired', 'ours', 'localhost', '-1')
  await sign('of another authority', 'another', 'localhost', '1')
  await sign('of another name', 'ours', 'elsewhere', '1')

  const tls = [
    '--tls-port',
    String(tlsPort),
    '--tls-auth-clients',
    'no',
    '--tls-ca-cert-file',
    file('ours.pem'),
  ]
  const shown = ['--tls-cert-file', file('right.pem'), '--tls-key-file', file('right.key')]
  const server = await startRedis({ args: [...tls, ...shown] })
  return {
    url: `rediss://localhost:${tlsPort}`,
    authority: file('ours.pem'),
    process: server,
    show: (certificate) =>
      onServer(server.port, async (redis) => {
        const [pem, key] = [file(`${certificate}.pem`), file(`${certificate}.key`)]
        await redis.call('CONFIG', 'SET', 'tls-cert-file', pem, 'tls-key-file', key)
        await redis.call('CLIENT', 'KILL', 'TYPE', 'normal')
        await redis.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
      }),
    stop: async () => {
      await server.stop()
      await rm(dir, { recursive: true, force: true })
    },
  }
}
