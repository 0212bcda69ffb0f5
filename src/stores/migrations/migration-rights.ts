import type pg from 'pg'
import { TAKES_NO_WRITES } from '../database/writable.ts'
import { hasSharedTables } from './gafaelfawr-tables.ts'
import { indexOf } from './index-migrations.ts'
import { type Migration, MigrationError } from './migration-history.ts'

/** Rights of the role of DATABASE_URL. */
interface RoleRights {
  readonly role: string
  readonly database: string
  readonly schema: string | null
  readonly path: string
  readonly isReadOnly: boolean
  readonly mayCreate: boolean
  readonly mayCreateTemporary: boolean
  readonly mayRecord: boolean
}

const ROLE_RIGHTS = `
  SELECT quote_ident(current_user) AS role, quote_ident(current_database()) AS database,
    quote_ident(current_schema()) AS schema, current_setting('search_path') AS path,
    current_setting('transaction_read_only') = 'on' AS "isReadOnly",
    coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) AS "mayCreate",
    has_database_privilege(current_database(), 'TEMPORARY') AS "mayCreateTemporary",
    coalesce((SELECT bool_and(has_table_privilege(to_regclass('_prisma_migrations'), needed))
      FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE']) AS needed), true) AS "mayRecord"`

/**
 * Requires, before anything is changed, that the role has the rights for these migrations.
 *
 * @throws {MigrationError} Its message has the statements that grant the missing rights.
 */
export async function requireMigrationRights(
  client: pg.Client,
  unapplied: readonly Migration[],
): Promise<void> {
  const { rows } = await client.query<RoleRights>(ROLE_RIGHTS)
  const [rights] = rows
  if (!rights) return
  const { role, path, schema, isReadOnly } = rights
  if (isReadOnly) {
    throw new MigrationError(TAKES_NO_WRITES)
  }
  if (schema === null) {
    throw new MigrationError(
      `The schema ${path} does not exist, or ${role} may not use it. ` +
        `Run as a role that may: CREATE SCHEMA IF NOT EXISTS ${path}; GRANT USAGE, CREATE ON SCHEMA ${path} TO ${role}.`,
    )
  }
  const grants = [
    ...describeMissing(rights, await hasSharedTables(client)),
    ...(await describeOwners(client, role, unapplied)),
  ]
  if (grants.length === 0) return
  throw new MigrationError(
    `The role ${role} lacks rights that the migrations need; nothing was changed. Migrate with a role that has them, or run ` +
      `as the owner or a superuser: ${grants.join('; ')}.`,
  )
}

function describeMissing(rights: RoleRights, areTablesThere: boolean): readonly string[] {
  const { role, database, schema, mayCreate, mayCreateTemporary, mayRecord } = rights
  const grants: string[] = []
  if (!mayCreate) grants.push(`GRANT CREATE ON SCHEMA ${schema} TO ${role}`)
  // Existing tables are compared with temporary ones.
  if (areTablesThere && !mayCreateTemporary) grants.push(`GRANT TEMPORARY ON DATABASE ${database} TO ${role}`)
  if (!mayRecord) grants.push(`GRANT SELECT, INSERT, UPDATE ON TABLE _prisma_migrations TO ${role}`)
  return grants
}

/** Returns the grants for tables of other owners: only the owner of a table may add an index. */
async function describeOwners(
  client: pg.Client,
  role: string,
  unapplied: readonly Migration[],
): Promise<readonly string[]> {
  const tables = unapplied.flatMap((migration) => indexOf(migration)?.table ?? [])
  const { rows } = await client.query<{ owner: string; tables: string }>(
    `SELECT quote_ident(rolname) AS owner, string_agg(relname, ', ' ORDER BY relname) AS tables
     FROM pg_class JOIN pg_roles ON pg_roles.oid = relowner
     WHERE relname = ANY($1) AND relkind IN ('r', 'p') AND pg_table_is_visible(pg_class.oid)
       AND NOT pg_has_role(relowner, 'USAGE')
     GROUP BY rolname`,
    [tables],
  )
  return rows.map((row) => `GRANT ${row.owner} TO ${role} (the owner of ${row.tables})`)
}
