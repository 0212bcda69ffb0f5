import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { PrismaPg } from '@prisma/adapter-pg'
import {
  bindMigrationAwareSqlAdapterFactory,
  DriverAdapterError,
  type SqlDriverAdapter,
  type SqlMigrationAwareDriverAdapterFactory,
} from '@prisma/driver-adapter-utils'
import * as bindings from '@prisma/schema-engine-wasm/schema_engine_bg'
import pg from 'pg'
import type { PostgresUrl } from '../../lib/postgres-url.ts'
import { clientClass, clientConfig } from '../database/postgres-client.ts'
import type { Migration } from './migration-history.ts'

/** Prisma's migration engine for one database. */
export interface SchemaEngine {
  /** Applies the missing migrations, and resolves to their names. Rejects if another engine is running for 10 s. */
  apply(migrations: readonly Migration[]): Promise<readonly string[]>
  /** Records a migration as applied without running it. */
  markApplied(migrations: readonly Migration[], name: string): Promise<void>
  close(): Promise<void>
}

/** SQLSTATE codes of a lock timeout and of a deadlock. */
export const WAITED_TOO_LONG: readonly string[] = ['55P03', '40P01']

let loaded: Promise<void> | undefined

/**
 * Opens the WebAssembly build of the engine: the native one is a download that many networks block. Its scripts wait for locks
 * for at most `lockTimeoutMs`; 0 means without limit.
 */
export async function openSchemaEngine(databaseUrl: PostgresUrl, lockTimeoutMs = 0): Promise<SchemaEngine> {
  loaded ??= loadEngine()
  await loaded
  // One connection that stays open: the lock of the engine belongs to its session.
  const pool = new pg.Pool({
    ...clientConfig(databaseUrl, { application_name: 'porthor migrate' }),
    Client: clientClass(databaseUrl, true),
    max: 1,
    idleTimeoutMillis: 0,
  })
  const clients = new Set<pg.PoolClient>()
  pool.on('connect', (client) => clients.add(client)).on('remove', (client) => clients.delete(client))
  const closePool = async () => {
    // An engine that timed out waiting for its lock leaves that query open, and the pool would wait for it.
    for (const client of clients) (client as unknown as pg.Client).end().catch(() => undefined)
    await pool.end()
  }
  const engine = await createEngine(pool, databaseUrl.schema, lockTimeoutMs).catch(async (error: unknown) => {
    await closePool()
    throw error
  })
  const filters = { externalTables: [], externalEnums: [] }
  return {
    apply: async (migrations) => {
      const done = await engine.applyMigrations({ migrationsList: listMigrations(migrations), filters })
      return done.appliedMigrationNames
    },
    markApplied: async (migrations, migrationName) => {
      await engine.markMigrationApplied({ migrationsList: listMigrations(migrations), migrationName })
    },
    close: async () => {
      engine.free()
      await closePool()
    },
  }
}

const createEngine = (pool: pg.Pool, schema: string, lockTimeoutMs: number): Promise<bindings.SchemaEngine> =>
  bindings.SchemaEngine.new(
    { datamodels: [['schema.prisma', DATAMODEL]] },
    // Its log only repeats its results and errors.
    () => undefined,
    bindMigrationAwareSqlAdapterFactory(new WholeScriptFactory(pool, schema, lockTimeoutMs)),
  )

/** The engine needs only the provider: models are not used to apply migrations. */
const DATAMODEL = 'datasource db { provider = "postgresql" }'

/** Does what the entry point of the package does, which imports a `.wasm` file: Node.js supports that only with a flag. */
async function loadEngine(): Promise<void> {
  const script = createRequire(import.meta.url).resolve('@prisma/schema-engine-wasm/schema_engine_bg')
  const bytes = await readFile(script.replace(/\.js$/, '.wasm'))
  const imports = Object.entries(bindings).map(([name, value]) =>
    name.startsWith('__wbg_setTimeout') ? [name, setIdleTimeout] : [name, value],
  )
  const { instance } = await WebAssembly.instantiate(bytes, {
    './schema_engine_bg.js': Object.fromEntries(imports),
  })
  bindings.__wbg_set_wasm(instance.exports)
  const { __wbindgen_start: start } = instance.exports as { __wbindgen_start(): void }
  start()
}

/** The engine never cancels the timer of 10 s for its lock: it would keep a finished process alive. */
const setIdleTimeout = (callback: () => void, delayMs: number): NodeJS.Timeout =>
  setTimeout(callback, delayMs).unref()

const listMigrations = (migrations: readonly Migration[]) => ({
  baseDir: '/',
  lockfile: { path: 'migration_lock.toml', content: 'provider = "postgresql"' },
  shadowDbInitScript: '',
  migrationDirectories: migrations.map(({ name, sql }) => ({
    path: name,
    migrationFile: { path: 'migration.sql', content: { tag: 'ok' as const, value: sql } },
  })),
})

/**
 * The pg adapter, except that it sends a script as a whole. The original splits it at every semicolon, also in comments and
 * strings, and runs the parts one by one. The native engine sends it as a whole too: PostgreSQL splits it correctly, and runs
 * it in one transaction, unless it is a single statement that must not be in one.
 */
class WholeScriptFactory implements SqlMigrationAwareDriverAdapterFactory {
  readonly provider = 'postgres'
  readonly adapterName: string
  readonly #pool: pg.Pool
  readonly #inner: PrismaPg
  readonly #lockTimeoutMs: number

  constructor(pool: pg.Pool, schema: string, lockTimeoutMs: number) {
    this.#pool = pool
    this.#lockTimeoutMs = lockTimeoutMs
    this.#inner = new PrismaPg(pool, { schema })
    this.adapterName = this.#inner.adapterName
  }

  async connect(): Promise<SqlDriverAdapter> {
    const adapter = await this.#inner.connect()
    adapter.executeScript = (script) => this.#run(script)
    return adapter
  }

  connectToShadowDb(): Promise<SqlDriverAdapter> {
    return this.#inner.connectToShadowDb()
  }

  async #run(script: string): Promise<void> {
    try {
      // On the only connection of the pool. Not in the script, which must be a single statement to build an index.
      await this.#pool.query("SELECT set_config('lock_timeout', $1, false)", [String(this.#lockTimeoutMs)])
      await this.#pool.query(script)
    } catch (error) {
      if (!(error instanceof pg.DatabaseError)) throw error
      const { code = '', severity = 'ERROR', detail, column, hint } = error
      // The engine records only the message, which may be in any language, and so without the code.
      const message = WAITED_TOO_LONG.includes(code) ? `${error.message} (${code})` : error.message
      throw new DriverAdapterError({ kind: 'postgres', code, severity, message, detail, column, hint })
    }
  }
}
