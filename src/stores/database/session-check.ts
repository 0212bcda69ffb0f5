import { randomUUID } from 'node:crypto'
import type pg from 'pg'
import type { PostgresUrl } from '../../lib/postgres-url.ts'
import { createClient } from './postgres-client.ts'

/** A setting without meaning: PostgreSQL accepts any name with a dot, and poolers do not copy it between sessions. */
const MARK = 'porthor.session'

/**
 * Whether a pooler shares sessions of PostgreSQL among connections. Then a setting of `client` is visible on another
 * connection, or missing on its own; without such a pooler neither can be.
 *
 * Reads the setting twice on `client`, for poolers that rotate sessions, and in between on another connection, for those that
 * assign the session that was released last.
 */
export async function areSessionsShared(databaseUrl: PostgresUrl, client: pg.Client): Promise<boolean> {
  const mark = randomUUID()
  const other = await connectAnother(databaseUrl)
  try {
    await client.query(`SELECT set_config('${MARK}', '${mark}', false)`)
    if ((await readMark(client)) !== mark) return true
    if (other && (await readMark(other)) === mark) return true
    return (await readMark(client)) !== mark
  } finally {
    await other?.end().catch(() => undefined)
  }
}

async function readMark(client: pg.Client): Promise<unknown> {
  const { rows } = await client.query(`SELECT current_setting('${MARK}', true) AS mark`)
  return rows[0]?.mark
}

/** Opens a second connection; `undefined` if the server accepts no more: then sessions are not shared. */
async function connectAnother(databaseUrl: PostgresUrl): Promise<pg.Client | undefined> {
  const client = createClient(databaseUrl, { application_name: 'porthor session check' })
  try {
    await client.connect()
    return client
  } catch {
    await client.end().catch(() => undefined)
    return undefined
  }
}
