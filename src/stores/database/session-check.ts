import { randomUUID } from 'node:crypto'
import type pg from 'pg'
import { createClient } from './postgres-client.ts'

/** A setting of nobody's: PostgreSQL takes any name with a dot, and poolers do not carry it from session to session. */
const MARK = 'porthor.session'

/**
 * Whether a pooler lends sessions of PostgreSQL out for less time than a connection lasts. The proof is a setting of
 * `client` that shows on another connection, or is gone; without such a pooler neither can be.
 *
 * Asked on one connection twice in a row, for poolers that take turns among sessions, and in between on another one,
 * for those that lend the session again that came back last.
 */
export async function areSessionsShared(databaseUrl: string, client: pg.Client): Promise<boolean> {
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

/** `undefined` where there is no room for a second connection: then sessions are not shared. */
async function connectAnother(databaseUrl: string): Promise<pg.Client | undefined> {
  const client = createClient(databaseUrl, { application_name: 'porthor session check' })
  try {
    await client.connect()
    return client
  } catch {
    await client.end().catch(() => undefined)
    return undefined
  }
}
