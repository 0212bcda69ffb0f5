import { Redis } from 'ioredis'
import pg from 'pg'
import { expect, it, onTestFinished, vi } from 'vitest'
import { openApp } from '../../src/app.ts'
import { type Environment, loadConfig } from '../../src/config/config.ts'
import { formatScopes } from '../../src/domain/scope.ts'
import { generateToken, NO_USER_INFO, serviceOf, type TokenData } from '../../src/domain/token.ts'
import { systemClock } from '../../src/lib/clock.ts'
import { Fernet } from '../../src/lib/fernet.ts'
import { createLogger } from '../../src/lib/logger.ts'
import type { AuditedFinding } from '../../src/services/maintenance/audit-service.ts'
import type { Services } from '../../src/services/services.ts'
import { EncryptedRecords } from '../../src/stores/token-store/encrypted-records.ts'
import { type CliResult, runPorthor, startPorthor } from '../support/processes/cli.ts'
import { serverSecrets } from '../support/processes/server-process.ts'
import { freshDatabase, startRedis } from '../support/stores/stores.ts'

// Starting a command takes seconds, on a busy machine many.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 })

const secrets = serverSecrets()
const log = createLogger('silent')

/** Long ago, and far ahead: the same in every run. */
const PAST = '2020-01-01'
const FUTURE = '2100-01-01'

/** Stores of one's own, and the environment of a command that works on them. */
interface Stores {
  readonly env: Environment
  readonly sql: (text: string, values?: unknown[]) => Promise<Record<string, unknown>[]>
}

async function openStores(env: Environment = {}): Promise<Stores> {
  const database = await freshDatabase()
  const pool = new pg.Pool({ connectionString: database.url, max: 2 })
  onTestFinished(async () => {
    await pool.end()
    await database.drop()
  })
  return {
    env: { NODE_ENV: 'production', ...secrets, DATABASE_URL: database.url, ...env },
    sql: async (text, values) => (await pool.query(text, values)).rows,
  }
}

/** Makes every statement that writes history take a while, so that there is a middle to be killed in. */
const slowDown = ({ sql }: Stores) =>
  sql(`
    CREATE FUNCTION take_a_while() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.05); RETURN NULL; END $$;
    CREATE TRIGGER slow AFTER INSERT OR DELETE ON token_change_history FOR EACH STATEMENT EXECUTE FUNCTION take_a_while()`)

/** Kills the command as soon as no more than `left` of its work is left, `leftSql` saying how much that is. */
async function killAt(
  left: number,
  leftSql: string,
  { env, sql }: Stores,
  args: string[],
): Promise<CliResult> {
  const command = startPorthor(args, env)
  let hasEnded = false
  const ended = command.ended.finally(() => {
    hasEnded = true
  })
  await vi.waitUntil(
    async () => hasEnded || Number((await sql(`SELECT ${leftSql} AS left`))[0]?.left) <= left,
    { timeout: 60_000, interval: 5 },
  )
  return Promise.race([ended, command.stop('SIGKILL')])
}

/** Does what the command does, in this process, where nothing disturbs it. */
async function inPeace<T>({ env }: Stores, work: (services: Services) => Promise<T>): Promise<T> {
  const context = openApp(loadConfig(env), { clock: systemClock, log })
  try {
    return await work(context.services)
  } finally {
    await context.close()
  }
}

const auditIn = (stores: Stores, fix: boolean): Promise<AuditedFinding[]> =>
  inPeace(stores, async ({ audit }) => {
    const findings: AuditedFinding[] = []
    for await (const finding of audit.run({ fix, deleteUnreadable: fix })) findings.push(finding)
    return findings
  })

/** Runs the command to its end, once who was killed has let go of the lock. */
const finish = ({ env }: Stores, args: string[]): Promise<CliResult> =>
  vi.waitFor(
    async () => {
      const result = await runPorthor(args, env)
      expect(result.stdout).not.toContain('busy')
      return result
    },
    { timeout: 60_000, interval: 100 },
  )

/** Everything in the tables that does not depend on when it was done. */
async function contentOf({ sql }: Stores): Promise<unknown> {
  const select = async (what: string) => {
    const rows = await sql(`SELECT row::text FROM (SELECT ${what}) AS row ORDER BY 1`)
    return rows.map(({ row }) => row)
  }
  return {
    tokens: await select('* FROM token'),
    lineage: await select('* FROM subtoken'),
    entries: await select('* FROM porthor_token_store'),
    history: await select(`
      token, username, token_type, parent, scopes, service, actor, action, old_scopes, old_expires,
      CASE WHEN expires < '${PAST}' OR expires >= '${FUTURE}' THEN expires END,
      CASE WHEN actor <> '<internal>' THEN event_time END FROM token_change_history`),
  }
}

/** Two random shares of the work, the larger first. */
const twoMoments = (): number[] => [0.5 + Math.random() / 2, Math.random() / 2]

const EXPIRED = 4_000
const OLD = 3_000

/** Trees of four that have ended and trees of four that have not, old history and new. */
const plantExpired = ({ sql }: Stores) =>
  sql(`
    INSERT INTO token (token, username, token_type, scopes, created, expires)
    SELECT 'token' || i, 'user' || i % 7, CASE WHEN i % 4 = 0 THEN 'session' ELSE 'notebook' END::tokentype, 'read:all',
           '${PAST}'::timestamp - interval '1 day' + i * interval '1 second',
           CASE WHEN i < ${EXPIRED} THEN '${PAST}'::timestamp - (i % 4) * interval '1 second' ELSE '${FUTURE}' END
    FROM generate_series(0, ${EXPIRED} + 999) AS i;
    INSERT INTO subtoken
    SELECT 'token' || i, 'token' || i - i % 4 FROM generate_series(0, ${EXPIRED} + 999) AS i WHERE i % 4 > 0;
    INSERT INTO porthor_token_store SELECT token, 'sealed', expires FROM token;
    INSERT INTO token_change_history (token, username, token_type, scopes, actor, action, event_time)
    SELECT 'gone' || i, 'wren', 'session', '', 'wren', 'create',
           CASE WHEN i <= ${OLD} THEN '${PAST}' ELSE '${FUTURE}' END::timestamp + i * interval '1 second'
    FROM generate_series(1, ${OLD} + 500) AS i`)

it('maintenance that is killed and run again has the result of maintenance that is not killed', async () => {
  const [calm, killed] = await Promise.all([openStores(), openStores()])
  await Promise.all([calm, killed].map(plantExpired))
  const before = await contentOf(calm)
  expect(await contentOf(killed)).toEqual(before)
  await slowDown(killed)
  const args = ['maintenance', '--json']
  const left = `(SELECT count(*) FROM token WHERE expires < '${FUTURE}')
    + (SELECT count(*) FROM token_change_history WHERE event_time < '${FUTURE}' AND actor = 'wren')`
  const moments = twoMoments()
  for (const moment of moments) {
    const { signal } = await killAt(moment * (EXPIRED + OLD), left, killed, args)
    expect(signal).toBe('SIGKILL')
  }
  const undisturbed = await inPeace(calm, ({ maintenance }) => maintenance.run())
  expect(undisturbed).toEqual({ expired: EXPIRED, truncated: OLD, orphaned: 0, swept: EXPIRED })
  expect((await finish(killed, args)).code).toBe(0)
  const after = await contentOf(calm)
  expect(after).not.toEqual(before)
  expect(await contentOf(killed), `killed at ${moments}`).toEqual(after)
})

/** Something that is wrong with a token, or with the trees of it. */
interface Planted {
  readonly data: TokenData
  readonly row?: Partial<{ scopes: string; expires: string; parent: string | null }>
  readonly hasRow?: false
  /** What the token store has; the sealed data where it is not given. */
  readonly entry?: string | null
}

/** So many of each kind of fault. */
const FAULTS = 60

function plantings(): Planted[] {
  const facts = {
    username: 'wren',
    userInfo: NO_USER_INFO,
    scopes: ['read:all'],
    createdAt: new Date(PAST),
    expiresAt: new Date(FUTURE),
  }
  const root = (): TokenData => ({ ...facts, token: generateToken(), type: 'user' })
  const child = (): TokenData => ({ ...facts, token: generateToken(), type: 'internal', service: 'tap' })
  const of = (parent: TokenData) => ({ parent: parent.token.key })
  return Array.from({ length: FAULTS }, (): Planted[] => {
    const [sound, lost, short, endless] = [root(), root(), root(), root()]
    return [
      { data: sound },
      { data: child(), row: of(sound) },
      { data: child(), row: { ...of(sound), scopes: 'read:all,read:tap' } },
      { data: lost, entry: null },
      { data: child(), row: of(lost) },
      { data: { ...short, expiresAt: new Date('2099-01-01') } },
      { data: child(), row: of(short) },
      { data: { ...endless, expiresAt: null } },
      { data: child(), row: { parent: null } },
      { data: root(), entry: 'damaged' },
      { data: root(), hasRow: false },
      { data: root(), hasRow: false, entry: 'damaged' },
    ]
  }).flat()
}

async function plantFaults(
  { sql }: Stores,
  redis: Redis,
  planted: readonly (Planted & { sealed: string })[],
) {
  const rows = planted.flatMap(({ data, row, hasRow = true }) =>
    hasRow
      ? [
          {
            token: data.token.key,
            username: data.username,
            token_type: data.type,
            service: serviceOf(data),
            scopes: formatScopes(data.scopes),
            created: data.createdAt,
            expires: data.expiresAt,
            parent: undefined,
            ...row,
          },
        ]
      : [],
  )
  await sql('INSERT INTO token SELECT * FROM json_populate_recordset(NULL::token, $1)', [
    JSON.stringify(rows),
  ])
  const lineage = rows.filter(({ parent }) => parent !== undefined)
  await sql(
    'INSERT INTO subtoken SELECT token, parent FROM json_to_recordset($1) AS row (token text, parent text)',
    [JSON.stringify(lineage)],
  )
  for (const { data, entry, sealed } of planted) {
    if (entry !== null) await redis.set(`token:${data.token.key}`, entry ?? sealed)
  }
}

/** What the records say: one that was narrowed is encrypted again, and so differs each time. */
const recordsOf = async (redis: Redis, fernet: Fernet): Promise<Record<string, string>> => {
  const keys = (await redis.keys('token:*')).sort()
  const values = await redis.mget(keys)
  return Object.fromEntries(keys.map((key, index) => [key, fernet.decrypt(values[index] ?? '').toString()]))
}

it('audit --fix that is killed and run again has the result of an audit that is not killed', async () => {
  const open = async () => {
    const server = await startRedis()
    onTestFinished(() => server.stop())
    const redis = new Redis(server.url)
    onTestFinished(async () => redis.disconnect())
    return { redis, ...(await openStores({ REDIS_URL: server.url })) }
  }
  const [calm, killed] = await Promise.all([open(), open()])
  const fernet = new Fernet([secrets.SESSION_SECRET])
  const records = new EncryptedRecords({ fernet, clock: systemClock, log })
  const planted = plantings().map((each) => ({ ...each, sealed: records.encrypt(each.data) }))
  for (const stores of [calm, killed]) await plantFaults(stores, stores.redis, planted)
  await slowDown(killed)

  const args = ['audit', '--fix', '--delete-unreadable']
  // Rows of history, of all faults but those that only the token store knows of.
  const written = 6 * FAULTS
  const moments = twoMoments()
  for (const moment of moments) {
    const left = `${written} - (SELECT count(*) FROM token_change_history)`
    const { signal } = await killAt(moment * written, left, killed, args)
    expect(signal).toBe('SIGKILL')
  }
  expect(await finish(killed, args)).toMatchObject({ code: 0 })
  const findings = await auditIn(calm, true)
  expect(findings.filter(({ isFixed }) => !isFixed)).toEqual([])
  expect(findings.length).toBeGreaterThan(written)
  for (const stores of [calm, killed]) {
    await inPeace(stores, ({ maintenance }) => maintenance.run())
    expect(await auditIn(stores, false)).toEqual([])
  }
  expect(await contentOf(killed), `killed at ${moments}`).toEqual(await contentOf(calm))
  expect(await recordsOf(killed.redis, fernet), `killed at ${moments}`).toEqual(
    await recordsOf(calm.redis, fernet),
  )
})
