import { chmod, chown, copyFile, mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { openEmbeddedPostgres } from '../../../src/embedded-postgres/embedded-postgres.ts'
import { BAD_CERTIFICATES, type Certificate, makeCertificates } from './certificates.ts'
import { copyUsedDataDir } from './stores.ts'

/** A PostgreSQL that speaks TLS, and shows a certificate that can be changed while it runs. */
export interface TlsPostgres {
  /** Of an empty database, with `sslmode=verify-full` and the authority that the right certificate is from. */
  readonly url: string
  /** Shows `certificate` from now on, and closes all connections that speak TLS. */
  show(certificate: Certificate): Promise<void>
  stop(): Promise<void>
}

/** How long PostgreSQL may take until it has read its settings again, in milliseconds. */
const RELOAD_TIMEOUT_MS = 10_000

const log = { info: () => undefined, warn: () => undefined }

export async function startTlsPostgres(): Promise<TlsPostgres> {
  const certificates = await makeCertificates()
  const dataDir = await mkdtemp(join(tmpdir(), 'porthor-tls-postgres-'))
  await copyUsedDataDir(dataDir)
  const postgres = await openEmbeddedPostgres({ dataDir, log, postgresFlags: ['-c', 'fsync=off'] })
  const ask = async (sql: string, values: readonly string[] = []): Promise<pg.QueryResult> => {
    const client = new pg.Client(postgres.url)
    await client.connect()
    return client.query(sql, [...values]).finally(() => client.end())
  }
  const { rows } = await ask('SHOW data_directory')
  const clusterDir: string = rows[0].data_directory
  const { uid, gid } = await stat(clusterDir)
  const place = async (from: string, name: string) => {
    const to = join(clusterDir, name)
    await copyFile(from, to)
    // PostgreSQL takes no key that others may read, or that is not its own.
    await chown(to, uid, gid)
    await chmod(to, 0o600)
  }
  for (const certificate of ['right', ...BAD_CERTIFICATES] as const) {
    await place(certificates.certificateFile(certificate), `${certificate}.pem`)
    await place(certificates.keyFile(certificate), `${certificate}.key`)
  }

  const show = async (certificate: Certificate): Promise<void> => {
    await ask(`ALTER SYSTEM SET ssl_cert_file = '${certificate}.pem'`)
    await ask(`ALTER SYSTEM SET ssl_key_file = '${certificate}.key'`)
    await ask('ALTER SYSTEM SET ssl = on')
    await ask('SELECT pg_reload_conf()')
    const deadline = Date.now() + RELOAD_TIMEOUT_MS
    // The server follows when it gets to it; a session that begins later has what it has by then.
    for (let shown = ''; shown !== `${certificate}.pem on`; ) {
      if (Date.now() > deadline) throw new Error(`PostgreSQL does not show the certificate ${certificate}`)
      const { rows } = await ask(
        "SELECT concat_ws(' ', current_setting('ssl_cert_file'), current_setting('ssl')) AS shown",
      )
      shown = rows[0].shown
    }
    await ask('SELECT pg_terminate_backend(pid) FROM pg_stat_ssl WHERE ssl')
  }
  await ask('CREATE DATABASE empty')
  await show('right')
  const url = new URL(postgres.url)
  url.pathname = '/empty'
  url.hostname = 'localhost'
  url.searchParams.set('sslmode', 'verify-full')
  url.searchParams.set('sslrootcert', certificates.authority)
  return {
    url: url.href,
    show,
    stop: async () => {
      await postgres.close()
      await certificates.remove()
      await rm(dataDir, { recursive: true, force: true })
    },
  }
}
