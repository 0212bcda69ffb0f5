import type { Environment } from '../../config/config.ts'
import { parsePage } from '../../domain/page.ts'
import { parseScopes } from '../../domain/scope.ts'
import { formatToken, type TokenData, type TokenType } from '../../domain/token.ts'
import type { TokenView } from '../../services/queries/token-view.ts'
import type { TokenRow } from '../../stores/database/token-database.ts'
import { formatTable, note, print } from '../output.ts'
import { UsageError } from '../usage-error.ts'
import { OPERATOR, withApp } from '../with-app.ts'

export type CreatableType = Extract<TokenType, 'session' | 'user' | 'service'>

export interface JsonFlag {
  readonly json?: boolean
}

export interface CreateFlags extends JsonFlag {
  readonly scope: readonly string[]
  readonly name?: string
  readonly expires?: Date
}

export interface ListFlags extends JsonFlag {
  readonly username?: string
  readonly type?: TokenType
  readonly limit: number
}

export interface RevokeFlags extends JsonFlag {
  readonly username?: string
  readonly service?: string
  readonly type?: TokenType
  readonly ancestor?: string
  readonly createdBefore?: Date
  readonly dryRun?: boolean
}

/** Creates a token and prints its bearer string. */
export async function create(
  env: Environment,
  type: CreatableType,
  username: string,
  { scope: scopes, name, expires, json }: CreateFlags,
): Promise<void> {
  if (type !== 'user' && name !== undefined) throw new UsageError('--name is for user tokens only.')
  if (type === 'user' && name === undefined) throw new UsageError('--name is required for a user token.')
  if (type === 'session' && expires) {
    throw new UsageError('--expires is not for sessions: their lifetime is TOKEN_LIFETIME.')
  }
  const expiresAt = expires ?? null
  await withApp(env, async ({ services: { tokens, encryptionKeys: keys } }) => {
    await keys.requireForWrite()
    const creators: Record<typeof type, () => Promise<TokenData>> = {
      session: () => tokens.createSession(OPERATOR, { username, scopes }),
      service: () => tokens.createService(OPERATOR, { username, scopes, expiresAt }),
      user: () => tokens.createUser(OPERATOR, { username, scopes, expiresAt, tokenName: name ?? '' }),
    }
    const { token, ...data } = await creators[type]()
    print(json ? JSON.stringify({ token: formatToken(token), key: token.key, ...data }) : formatToken(token))
  })
}

/** Prints tokens, newest first. */
export async function list(env: Environment, { username, type, limit, json }: ListFlags): Promise<void> {
  const { rows, hasNextPage } = await withView(env, (view) =>
    view.tokens({ username, type }, parsePage('token', { first: limit })),
  )
  if (json) for (const row of rows) print(JSON.stringify(withScopes(row)))
  else print(tableOf(rows))
  if (hasNextPage) note(`Only the newest ${rows.length} are shown: see --limit and --username.`)
}

/** Prints a token, its parent, its children and its history. */
export async function show(env: Environment, key: string, { json }: JsonFlag): Promise<void> {
  const [token, parent, children, changes] = await withView(env, async (view) => [
    // First by itself: it reports a token that does not exist.
    await view.get(key, {}),
    ...(await Promise.all([
      view.parentOf(key),
      view.childrenOf(key, parsePage('token', { first: 500 })),
      view.changesOf(key, parsePage('change', { first: 500 })),
    ])),
  ])
  if (json) {
    const rows = {
      parent: parent && withScopes(parent),
      children: children.rows.map(withScopes),
      changes: changes.rows.map(withScopes),
    }
    return print(JSON.stringify({ ...withScopes(token), ...rows }))
  }
  print(formatTable(Object.entries(token).map(([name, value]) => [name, formatCell(value)])))
  print(`\nParent\n${parent ? tableOf([parent]) : 'none'}`)
  print(`\nChildren\n${children.rows.length > 0 ? tableOf(children.rows) : 'none'}`)
  const history = changes.rows.map(({ eventTime, action, actor, ipAddress, scopes, expiresAt }) =>
    [eventTime, action, actor, ipAddress, scopes, expiresAt].map(formatCell),
  )
  print(
    `\nHistory\n${formatTable([['TIME', 'ACTION', 'ACTOR', 'ADDRESS', 'SCOPES', 'EXPIRES'], ...history])}`,
  )
}

/** Revokes a token, or all tokens that match, each with its descendants. */
export async function revoke(
  env: Environment,
  key: string | undefined,
  { json, dryRun, ...filter }: RevokeFlags,
): Promise<void> {
  const hasFilter = Object.values(filter).some((value) => value !== undefined)
  if (key !== undefined && (hasFilter || dryRun)) {
    throw new UsageError(
      dryRun && !hasFilter
        ? '--dry-run is not for a key: use it with options that select tokens, such as --username.'
        : 'Give a key or options that select tokens, not both.',
    )
  }
  if (key === undefined && !hasFilter) {
    throw new UsageError(
      'Give a key, or at least one of --username, --service, --type, --ancestor and --created-before.',
    )
  }
  await withApp(env, async ({ services: { revocation } }) => {
    if (key !== undefined) {
      const keys = await revocation.revoke(OPERATOR, key)
      return print(
        json ? JSON.stringify({ count: keys.length, keys }) : `Revoked ${formatCount(keys.length)}.`,
      )
    }
    const { count, keys } = dryRun
      ? await revocation.findMatching(OPERATOR, filter, 100)
      : await revocation.revokeMatching(OPERATOR, filter)
    print(
      json
        ? JSON.stringify({ count, keys })
        : `${dryRun ? 'Would revoke' : 'Revoked'} ${formatCount(count)}.`,
    )
  })
}

const withView = <T>(env: Environment, work: (view: TokenView) => Promise<T>): Promise<T> =>
  withApp(env, ({ services }) => work(services.queries.createView(OPERATOR.actor)))

/** Returns a row for programs: its scopes as a list, as in the API. */
const withScopes = <Row extends { readonly scopes: string; readonly oldScopes?: string | null }>(
  row: Row,
) => ({
  ...row,
  scopes: parseScopes(row.scopes),
  ...(row.oldScopes != null && { oldScopes: parseScopes(row.oldScopes) }),
})

const tableOf = (rows: readonly TokenRow[]): string =>
  formatTable([
    ['KEY', 'USERNAME', 'TYPE', 'NAME', 'SERVICE', 'SCOPES', 'CREATED', 'EXPIRES'],
    ...rows.map(({ key, username, type, tokenName, service, scopes, createdAt, expiresAt }) =>
      [key, username, type, tokenName, service, scopes, createdAt, expiresAt].map(formatCell),
    ),
  ])

const formatCell = (value: unknown): string =>
  value instanceof Date ? value.toISOString() : value === null || value === '' ? '-' : String(value)

const formatCount = (tokens: number): string => (tokens === 1 ? '1 token' : `${tokens} tokens`)
