import { Prisma, type PrismaClient } from '../generated/prisma/client.ts'

/** A right that the role lacks; `null` stands for a server that takes no writes. */
export interface Obstacle {
  readonly table: string | null
  readonly right: string
}

const CHANGED = "ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']"

/** What keeps this session from serving; no rows where nothing does. A table that is not there is left out. */
export const OBSTACLES = `
  SELECT NULL AS "table", 'write' AS "right" WHERE current_setting('transaction_read_only') = 'on'
  UNION ALL
  SELECT needed.name, needed.privilege
  FROM (
    SELECT name, unnest(${CHANGED}) AS privilege FROM unnest(ARRAY['token', 'subtoken', 'token_change_history',
      'porthor_token_store', 'porthor_pending_change', 'porthor_redis_run']) AS name
  ) AS needed
  WHERE NOT has_table_privilege(to_regclass(needed.name), needed.privilege)
  UNION ALL
  SELECT 'token_change_history_id_seq', 'USAGE'
  WHERE NOT has_sequence_privilege(to_regclass('token_change_history_id_seq'), 'USAGE')`

/** What is in the way and what would be right; `undefined` where nothing is. */
export function describeObstacles(obstacles: readonly Obstacle[]): string | undefined {
  if (obstacles.length === 0) return undefined
  if (obstacles.some(({ table }) => table === null)) {
    return (
      'PostgreSQL takes no writes on this connection (a standby, or default_transaction_read_only): name the primary ' +
      'in DATABASE_URL, and a role that may write.'
    )
  }
  const tables = [...new Set(obstacles.map(({ table }) => table))]
  const grants = tables.map((name) => {
    const rights = obstacles.filter(({ table }) => table === name).map(({ right }) => right)
    return `GRANT ${rights.join(', ')} ON ${rights.includes('USAGE') ? 'SEQUENCE' : 'TABLE'} ${name} TO <role>`
  })
  return `The role of DATABASE_URL lacks rights. Run as the owner of the tables: ${grants.join('; ')}.`
}

/** @throws {Error} with the code 25006, "read-only transaction", where the session cannot write all that it has to. */
export async function requireWritable(db: Pick<PrismaClient, '$queryRaw'>): Promise<void> {
  const obstacles = await db.$queryRaw<Obstacle[]>(Prisma.raw(OBSTACLES))
  const reason = describeObstacles(obstacles)
  if (reason) throw Object.assign(new Error(reason), { code: '25006' })
}
