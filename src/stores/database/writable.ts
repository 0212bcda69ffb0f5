import { Prisma, type PrismaClient } from '../../generated/prisma/client.ts'

/** A right that the role lacks; `table` is `null` if the server is read-only. */
export interface Obstacle {
  readonly table: string | null
  readonly right: string
}

/** Table of the token store in PostgreSQL. */
export const TOKEN_STORE_TABLE = 'porthor_token_store'

const CHANGED = "ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']"

/** Query for the obstacles to serving in this session. It skips tables that do not exist. */
export const OBSTACLES = `
  SELECT NULL AS "table", 'write' AS "right" WHERE current_setting('transaction_read_only') = 'on'
  UNION ALL
  SELECT needed.name, needed.privilege
  FROM (
    SELECT name, unnest(${CHANGED}) AS privilege FROM unnest(ARRAY['token', 'subtoken', 'token_change_history',
      '${TOKEN_STORE_TABLE}', 'porthor_pending_change', 'porthor_redis_run']) AS name
  ) AS needed
  WHERE NOT has_table_privilege(to_regclass(needed.name), needed.privilege)
  UNION ALL
  SELECT 'token_change_history_id_seq', 'USAGE'
  WHERE NOT has_sequence_privilege(to_regclass('token_change_history_id_seq'), 'USAGE')`

/** Whether PostgreSQL is read-only for now: a standby that may be promoted, or a setting that may be reset. */
export const isReadOnly = (obstacles: readonly Obstacle[]): boolean =>
  obstacles.some(({ table }) => table === null)

export const TAKES_NO_WRITES =
  'PostgreSQL takes no writes on this connection (a standby, or default_transaction_read_only): name the primary ' +
  'in DATABASE_URL, and a role that may write.'

/** Returns a sentence with the statements that grant the missing rights; `undefined` if none is missing. */
export function describeMissingRights(obstacles: readonly Obstacle[]): string | undefined {
  const missing = obstacles.filter(({ table }) => table !== null)
  if (missing.length === 0) return undefined
  const tables = [...new Set(missing.map(({ table }) => table))]
  const grants = tables.map((name) => {
    const rights = missing.filter(({ table }) => table === name).map(({ right }) => right)
    return `GRANT ${rights.join(', ')} ON ${rights.includes('USAGE') ? 'SEQUENCE' : 'TABLE'} ${name} TO <role>`
  })
  return `The role of DATABASE_URL lacks rights. Run as the owner of the tables: ${grants.join('; ')}.`
}

/** Returns the obstacles to serving on this connection, and a summary that names nothing in the database. */
export async function findObstacles(
  db: Pick<PrismaClient, '$queryRaw'>,
): Promise<{ readonly list: readonly Obstacle[]; readonly summary: string | undefined }> {
  const list = await db.$queryRaw<Obstacle[]>(Prisma.raw(OBSTACLES))
  if (list.length === 0) return { list, summary: undefined }
  const summary = isReadOnly(list) ? 'PostgreSQL takes no writes' : 'the role of DATABASE_URL lacks rights'
  return { list, summary }
}
