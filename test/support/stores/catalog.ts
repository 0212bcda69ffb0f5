import type pg from 'pg'

/** What PostgreSQL's catalogue says of the tables shared with Gafaelfawr, in words that pg_dump would use. */
export async function readCatalog(client: pg.Client): Promise<Record<string, string[]>> {
  const catalog: Record<string, string[]> = {}
  for (const [what, sql] of Object.entries(QUERIES)) {
    const { rows } = await client.query<{ line: string }>(sql)
    catalog[what] = rows.map(({ line }) => line)
  }
  return catalog
}

const TABLES = `('token'), ('subtoken'), ('token_change_history')`
const OF_TABLES = (column: string) =>
  `${column} IN (SELECT name::regclass FROM (VALUES ${TABLES}) AS t (name))`

const QUERIES = {
  columns: `
    SELECT concat_ws(' ', attrelid::regclass, attnum, attname, format_type(atttypid, atttypmod), collname,
      CASE WHEN attnotnull THEN 'NOT NULL' END, pg_get_expr(adbin, adrelid), attidentity, attgenerated) AS line
    FROM pg_attribute LEFT JOIN pg_collation c ON c.oid = attcollation
      LEFT JOIN pg_attrdef ON (adrelid, adnum) = (attrelid, attnum)
    WHERE ${OF_TABLES('attrelid')} AND attnum > 0 AND NOT attisdropped ORDER BY attrelid::regclass::text, attnum`,
  constraints: `
    SELECT concat_ws(' ', conrelid::regclass, conname, pg_get_constraintdef(oid)) AS line
    FROM pg_constraint WHERE ${OF_TABLES('conrelid')} ORDER BY 1`,
  indexes: `
    SELECT pg_get_indexdef(indexrelid) AS line FROM pg_index WHERE ${OF_TABLES('indrelid')} ORDER BY 1`,
  enums: `
    SELECT concat_ws(' ', typname, string_agg(enumlabel, ' ' ORDER BY enumsortorder)) AS line
    FROM pg_enum JOIN pg_type t ON t.oid = enumtypid GROUP BY typname ORDER BY 1`,
  sequences: `
    SELECT concat_ws(' ', s.seqrelid::regclass, s.seqtypid::regtype, seqstart, seqincrement, seqmin, seqmax, seqcache,
      seqcycle, d.refobjid::regclass, d.refobjsubid, d.deptype) AS line
    FROM pg_sequence s LEFT JOIN pg_depend d ON d.objid = seqrelid AND d.deptype IN ('a', 'i') ORDER BY 1`,
  triggers: `
    SELECT pg_get_triggerdef(oid) AS line FROM pg_trigger
    WHERE ${OF_TABLES('tgrelid')} AND NOT tgisinternal ORDER BY 1`,
}
