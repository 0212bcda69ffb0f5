import { expect, test } from 'vitest'
import { indexOf } from '../../src/stores/migrations/index-migrations.ts'
import { readSources } from './sources.ts'

const MIGRATIONS = readSources('prisma/migrations', 'migration.sql').map(({ path, text }) => ({
  name: path,
  sql: text,
  /** Without comments. */
  code: text.replaceAll(/--.*$/gm, ''),
}))

test('a migration with CONCURRENTLY is one CREATE INDEX CONCURRENTLY IF NOT EXISTS and nothing else: PostgreSQL runs several statements in a transaction, where it refuses that one', () => {
  const concurrent = MIGRATIONS.filter(({ code }) => /\bCONCURRENTLY\b/i.test(code))
  expect(concurrent.length).toBeGreaterThan(0)
  for (const { name, sql } of concurrent) expect(indexOf({ name, sql }), name).toBeDefined()
})

test('any other index is on a table that its migration creates: others can write to a table while its index is built', () => {
  for (const { name, code } of MIGRATIONS) {
    const indexed = Array.from(
      code.matchAll(/CREATE (?:UNIQUE )?INDEX (?!CONCURRENTLY)[^;]*?\bON (\w+)/gi),
      ([, table]) => table,
    )
    const created = Array.from(code.matchAll(/CREATE TABLE (?:IF NOT EXISTS )?(\w+)/gi), ([, table]) => table)
    expect(created, name).toEqual(expect.arrayContaining(indexed))
  }
})
