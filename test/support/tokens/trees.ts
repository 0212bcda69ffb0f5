import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { expect, onTestFinished } from 'vitest'
import { addSeconds } from '../../../src/domain/lifetime.ts'
import { formatToken, NO_USER_INFO, type TokenData, type TokenKey } from '../../../src/domain/token.ts'
import { Fernet } from '../../../src/lib/fernet.ts'
import { EncryptedRecords } from '../../../src/stores/token-store/encrypted-records.ts'
import type { Porthor, StoreKind } from '../porthor/porthor.ts'
import type { AskOptions } from '../requests/graphql.ts'

/** Whole trees of tokens, and questions about them, for tests of administration. */

export const IP = '192.0.2.20'

const BOOTSTRAP = { actor: { kind: 'bootstrap' }, ipAddress: IP } as const

export interface RootFacts {
  readonly username?: string
  readonly tokenName?: string
  readonly scopes?: readonly string[]
  /** In seconds from now; `null` for a token that never ends. */
  readonly endsIn?: number | null
}

/** A username that no other test has. */
export const aUsername = (): string => `user-${randomUUID()}`

export const bearerOf = ({ token }: TokenData): string => formatToken(token)

export const keyOf = ({ token }: TokenData): TokenKey => token.key

export const keysOf = (tokens: readonly TokenData[]): TokenKey[] => tokens.map(keyOf)

/** A user token: the one kind that can be modified, and that ends when one likes. */
export function makeRoot(h: Porthor, facts: RootFacts = {}): Promise<TokenData> {
  const {
    username = aUsername(),
    tokenName = randomUUID(),
    scopes = ['exec:notebook', 'read:all', 'read:tap', 'user:token'],
    endsIn = null,
  } = facts
  const expiresAt = endsIn === null ? null : addSeconds(h.clock.now(), endsIn)
  return h.context.services.tokens.createUser(BOOTSTRAP, {
    username,
    tokenName,
    scopes,
    expiresAt,
    userInfo: NO_USER_INFO,
  })
}

/** A session of an admin, whose name history then knows. */
export const makeAdmin = (h: Porthor, username = aUsername()): Promise<TokenData> =>
  h.context.services.tokens.createSession(BOOTSTRAP, { username, scopes: ['admin:token', 'read:all'] })

/** A child of `parent` for `service`. */
export async function lend(
  h: Porthor,
  parent: TokenData,
  service: string,
  scopes: readonly string[] = ['read:all'],
): Promise<TokenData> {
  const { tokenCache } = h.context.services
  return (await tokenCache.getInternalToken(parent, service, scopes, IP)).data
}

export interface Tree {
  readonly root: TokenData
  readonly child: TokenData
  readonly notebook: TokenData
  readonly grandchild: TokenData
}

/** A user token with two children, of which one has a child of its own. */
export async function makeTree(h: Porthor, facts: RootFacts = {}): Promise<Tree> {
  const root = await makeRoot(h, facts)
  const child = await lend(h, root, 'portal', ['read:all', 'read:tap'])
  const { data: notebook } = await h.context.services.tokenCache.getNotebookToken(root, IP)
  const grandchild = await lend(h, child, 'tap')
  return { root, child, notebook, grandchild }
}

/** The data that `query` answers with; as an admin where no token is given. */
export async function dataOf<T>(h: Porthor, query: string, options: AskOptions = {}): Promise<T> {
  const { data, errors } = await h.ask(query, { token: h.bootstrapToken, ...options })
  expect(errors).toEqual([])
  return data as T
}

/** How `query` is refused: code and HTTP status. */
export async function refusalOf(
  h: Porthor,
  query: string,
  options: AskOptions = {},
): Promise<readonly [unknown, number]> {
  const { code, status } = await h.ask(query, { token: h.bootstrapToken, ...options })
  return [code, status]
}

/** Columns of the rows of `tokens`, as PostgreSQL prints them, by key. */
export async function rowsOf(
  h: Porthor,
  tokens: readonly TokenData[],
): Promise<Record<string, Record<string, unknown>>> {
  const rows = await h.sql<{ token: string; row: Record<string, unknown> }>(
    'SELECT held.token, to_jsonb(held) AS row FROM token AS held WHERE held.token = ANY ($1)',
    [keysOf(tokens)],
  )
  return Object.fromEntries(rows.map(({ token, row }) => [token, row]))
}

/** The history of `tokens`, oldest first, as PostgreSQL prints it. */
export async function historyOf(
  h: Porthor,
  tokens: readonly TokenData[],
  action?: string,
): Promise<Record<string, unknown>[]> {
  const rows = await h.sql<{ row: Record<string, unknown> }>(
    `SELECT to_jsonb(change) || jsonb_build_object('ip_address', host(ip_address)) AS row
     FROM token_change_history AS change
     WHERE token = ANY ($1) AND action::text = coalesce($2, action::text) ORDER BY id`,
    [keysOf(tokens), action ?? null],
  )
  return rows.map(({ row }) => row)
}

/** A time as `to_jsonb` prints a `timestamp`. */
export const jsonTime = (date: Date): string => date.toISOString().slice(0, 19)

/** The document that the token store has for `token`, byte for byte; `undefined` when there is none. */
export const documentOf = (h: Porthor, store: StoreKind, { token }: TokenData): Promise<string | undefined> =>
  documentUnder(h, store, token.key)

export async function documentUnder(h: Porthor, store: StoreKind, key: string): Promise<string | undefined> {
  const encrypted =
    store === 'redis'
      ? await h.redis.get(`token:${key}`)
      : (await h.sql('SELECT value FROM porthor_token_store WHERE token = $1', [key]))[0]?.value
  return encrypted ? new Fernet((h.env.SESSION_SECRET ?? '').split(',')).decrypt(encrypted) : undefined
}

/** Which of `tokens` the token store has. */
export async function storedOf(
  h: Porthor,
  store: StoreKind,
  tokens: readonly TokenData[],
): Promise<TokenData[]> {
  const documents = await Promise.all(tokens.map((token) => documentOf(h, store, token)))
  return tokens.filter((_, index) => documents[index] !== undefined)
}

/** Writes text, as it is, into the token store's entry of `token`, behind Porthor's back, and without a TTL. */
export async function writeEntry(h: Porthor, store: StoreKind, { token: { key } }: TokenData, text: string) {
  if (store === 'redis') await h.redis.set(`token:${key}`, text)
  else {
    await h.sql(
      `INSERT INTO porthor_token_store (token, value) VALUES ($1, $2)
       ON CONFLICT (token) DO UPDATE SET value = excluded.value`,
      [key, text],
    )
  }
}

/** `data` as a token store keeps it. */
export const sealedOf = (h: Porthor, data: TokenData): string =>
  new EncryptedRecords({
    fernet: new Fernet((h.env.SESSION_SECRET ?? '').split(',')),
    clock: h.clock,
    log: h.context.log,
  }).encrypt(data)

/** Takes the entry of `token` out of the token store, behind Porthor's back. */
export async function dropEntry(h: Porthor, store: StoreKind, { token: { key } }: TokenData): Promise<void> {
  if (store === 'redis') await h.redis.del(`token:${key}`)
  else await h.sql('DELETE FROM porthor_token_store WHERE token = $1', [key])
}

/** Makes every commit fail, at its end, that has done `event` to a token of `username`, until it is allowed again. */
export async function refuseCommits(
  h: Porthor,
  event: 'INSERT' | 'UPDATE' | 'DELETE',
  username: string,
): Promise<{ readonly allow: () => Promise<void> }> {
  const row = event === 'DELETE' ? 'OLD' : 'NEW'
  await h.sql(
    `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
     BEGIN IF ${row}.username = '${username}' THEN RAISE 'refused' USING ERRCODE = '40001'; END IF; RETURN NULL; END $$;
     CREATE CONSTRAINT TRIGGER refuse AFTER ${event} ON token DEFERRABLE INITIALLY DEFERRED
     FOR EACH ROW EXECUTE FUNCTION refuse()`,
  )
  return {
    allow: async () => {
      await h.sql('DROP FUNCTION IF EXISTS refuse CASCADE')
    },
  }
}

/** Removes every token, and all that is on record of any. */
export async function emptyStores(h: Porthor): Promise<void> {
  await h.sql('TRUNCATE token, subtoken, token_change_history, porthor_token_store, porthor_pending_change')
  await h.redis.flushdb()
}

/** A connection to the database, for SQL that holds locks; ends with the test, or with its database. */
export async function connect({ env }: Pick<Porthor, 'env'>): Promise<pg.Client> {
  const client = new pg.Client(env.DATABASE_URL)
  client.on('error', () => undefined)
  await client.connect()
  onTestFinished(() => client.end())
  return client
}

/**
 * What is sent besides: a connection that is new sets its session up, the one for broadcasts is asked for a sign of life,
 * and once a second for the run of Redis that began last.
 */
const OWN_STATEMENT =
  /^\s*(BEGIN|COMMIT|ROLLBACK|LISTEN|SELECT set_config\(|SELECT identity FROM porthor_redis_run)/

/** SQL statements that `work` has the driver send, but for the ends of transactions. */
export async function statementsOf(work: () => Promise<unknown>): Promise<string[]> {
  const { query } = pg.Client.prototype
  const sent: string[] = []
  const counting = function (this: pg.Client, ...args: unknown[]): unknown {
    const [first] = args
    sent.push(typeof first === 'string' ? first : String((first as { text?: string }).text))
    return Reflect.apply(query, this, args)
  }
  pg.Client.prototype.query = counting as typeof query
  try {
    await work()
  } finally {
    pg.Client.prototype.query = query
  }
  return sent.filter((text) => !OWN_STATEMENT.test(text))
}
