import { Argument, type Command, InvalidArgumentError, Option } from 'commander'
import type { Environment } from '../config.ts'
import type { ProcessContext } from '../context.ts'
import { addSeconds } from '../domain/lifetime.ts'
import { parsePage } from '../domain/page.ts'
import { parseScopes } from '../domain/scope.ts'
import { formatToken, TOKEN_TYPES, type TokenData, type TokenType, toTokenKey } from '../domain/token.ts'
import { systemClock } from '../lib/clock.ts'
import { parseDuration } from '../lib/duration.ts'
import type { TokenView } from '../services/token-view.ts'
import type { TokenRow } from '../stores/token-database.ts'
import { formatTable, print } from './output.ts'
import { OPERATOR, withContext } from './tool.ts'

interface JsonFlag {
  readonly json?: boolean
}

interface CreateFlags extends JsonFlag {
  readonly scope: readonly string[]
  readonly name?: string
  readonly expires?: Date
}

interface ListFlags extends JsonFlag {
  readonly username?: string
  readonly type?: TokenType
  readonly limit: number
}

interface RevokeFlags extends JsonFlag {
  readonly username?: string
  readonly service?: string
  readonly type?: TokenType
  readonly ancestor?: string
  readonly createdBefore?: Date
  readonly dryRun?: boolean
}

const CREATABLE = ['session', 'user', 'service'] as const

/** Adds `token`: tokens for the operator at the machine, by the services that the API uses too. */
export function addTokenCommands(program: Command, env: Environment): void {
  const token = program.command('token').description('create, list, show and revoke tokens')
  const typeOption = () => new Option('--type <type>', 'only tokens of this type').choices(TOKEN_TYPES)
  const jsonOption = () => new Option('--json', 'print JSON, an object a line')

  token
    .command('create')
    .description('create a token, and print its bearer string')
    .addArgument(new Argument('<type>').choices(CREATABLE))
    .argument('<username>')
    .option('--scope <scope...>', 'what it shall allow', [])
    .option('--name <name>', 'name of a user token')
    .option('--expires <when>', 'a time such as 2026-01-31T12:00:00Z, or a duration such as 30d', parseAhead)
    .addOption(jsonOption())
    .action((type: (typeof CREATABLE)[number], username: string, flags: CreateFlags) =>
      withContext(env, (context) => create(context, type, username, flags)),
    )

  token
    .command('list')
    .description('list tokens, newest first')
    .option('--username <username>', 'only tokens of this user')
    .addOption(typeOption())
    .option('--limit <number>', 'how many at the most', parseCount, 50)
    .addOption(jsonOption())
    .action((flags: ListFlags) => withContext(env, (context) => list(viewOf(context), flags)))

  token
    .command('show')
    .description('show a token, its parent, its children and its history')
    .argument('<key>', 'public half of the token')
    .addOption(jsonOption())
    .action((key: string, flags: JsonFlag) =>
      withContext(env, (context) => show(viewOf(context), key, flags)),
    )

  token
    .command('revoke')
    .description('revoke a token, or all that match, each with everything below it')
    .argument('[key]', 'public half of the token')
    .option('--username <username>', 'tokens of this user')
    .option('--service <service>', 'tokens lent to this service')
    .addOption(typeOption())
    .option('--ancestor <key>', 'tokens below this one')
    .option('--created-before <when>', 'tokens made before this time, or longer ago than 30d', parseAgo)
    .option('--dry-run', 'only count what would be revoked')
    .addOption(jsonOption())
    .action((key: string | undefined, flags: RevokeFlags) =>
      withContext(env, (context) => revoke(context, key, flags)),
    )
}

async function create(
  { services }: ProcessContext,
  type: (typeof CREATABLE)[number],
  username: string,
  { scope: scopes, name, expires, json }: CreateFlags,
): Promise<void> {
  if (type !== 'user' && name !== undefined)
    throw new Error('--name is for user tokens: no other has a name.')
  if (type === 'session' && expires) {
    throw new Error('--expires is not for sessions: they live for the token lifetime.')
  }
  const expiresAt = expires ?? null
  const make: Record<typeof type, () => Promise<TokenData>> = {
    session: () => services.tokens.createSession(OPERATOR, { username, scopes }),
    service: () => services.tokens.createService(OPERATOR, { username, scopes, expiresAt }),
    user: () => services.tokens.createUser(OPERATOR, { username, scopes, expiresAt, tokenName: name ?? '' }),
  }
  const { token, ...data } = await make[type]()
  print(json ? JSON.stringify({ token: formatToken(token), key: token.key, ...data }) : formatToken(token))
}

async function list(view: TokenView, { username, type, limit, json }: ListFlags): Promise<void> {
  const { rows } = await view.tokens({ username, type }, parsePage('token', { first: limit }))
  if (json) for (const row of rows) print(JSON.stringify(withScopes(row)))
  else print(tableOf(rows))
}

async function show(view: TokenView, key: string, { json }: JsonFlag): Promise<void> {
  const token = await view.get(key, {})
  const [parent, children, changes] = await Promise.all([
    view.parentOf(key),
    view.childrenOf(key, parsePage('token', { first: 500 })),
    view.changesOf(key, parsePage('change', { first: 500 })),
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

async function revoke(
  { services }: ProcessContext,
  key: string | undefined,
  { json, dryRun, ancestor, ...filter }: RevokeFlags,
): Promise<void> {
  const hasFilter = ancestor !== undefined || Object.values(filter).some((value) => value !== undefined)
  if (key !== undefined && (hasFilter || dryRun)) {
    throw new Error('Give a key, or options that say which tokens to revoke, not both.')
  }
  const criteria = { ...filter, ancestor: ancestor === undefined ? undefined : toTokenKey(ancestor) }
  const { revocation } = services
  if (key !== undefined) {
    const keys = await revocation.revoke(OPERATOR, toTokenKey(key))
    return print(json ? JSON.stringify({ count: keys.length, keys }) : `Revoked ${keys.length} tokens.`)
  }
  const { count, keys } = dryRun
    ? await revocation.findMatching(OPERATOR, criteria, 100)
    : await revocation.revokeMatching(OPERATOR, criteria)
  print(json ? JSON.stringify({ count, keys }) : `${dryRun ? 'Would revoke' : 'Revoked'} ${count} tokens.`)
}

const viewOf = ({ services }: ProcessContext): TokenView => services.directory.viewFor(OPERATOR.actor)

/** A row as a program would read it: scopes as a list, as the API has them. */
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

const parseAhead = (text: string): Date => parseTime(text, 1)
const parseAgo = (text: string): Date => parseTime(text, -1)

const ISO = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?)?$/

/** Reads ISO 8601, in UTC where it does not say, unlike `Date`, which also reads much that is no time. */
function parseIso(text: string): Date {
  const [isIso, time, , , zone] = ISO.exec(text) ?? []
  if (!isIso) return new Date(Number.NaN)
  return new Date(time && !zone ? `${text}Z` : text)
}

/** Reads a time, or a duration from now: ahead where `sign` is 1, back where it is -1. */
function parseTime(text: string, sign: 1 | -1): Date {
  const seconds = parseDuration(text)
  const time = seconds === undefined ? parseIso(text) : addSeconds(systemClock.now(), sign * seconds)
  if (!Number.isNaN(time.getTime())) return time
  throw new InvalidArgumentError('Give a time such as 2026-01-31T12:00:00Z, or a duration such as 30d.')
}

function parseCount(text: string): number {
  const count = Number(text)
  if (Number.isInteger(count) && count >= 1 && count <= 500) return count
  throw new InvalidArgumentError('Give a whole number from 1 to 500.')
}
