import { expect } from 'vitest'
import { UnavailableError } from '../../../src/domain/errors.ts'
import { formatScopes } from '../../../src/domain/scope.ts'
import { parseToken, type TokenKey } from '../../../src/domain/token.ts'
import type { Clock } from '../../../src/lib/clock.ts'
import type { AuditedFinding } from '../../../src/services/maintenance/audit-service.ts'
import type { Services } from '../../../src/services/services.ts'
import { formatTimestamp } from '../../../src/stores/database/timestamp.ts'
import type { StoredRecord } from '../../../src/stores/token-store/token-store.ts'
import type { Porthor } from '../porthor/porthor.ts'
import type { AskOptions, GraphQLAnswer } from '../requests/graphql.ts'
import { LIFE, type Op } from './token-ops.ts'
import {
  expectWithinParents,
  type HistoryEntry,
  livingTwins,
  readHistory,
  readTokens,
  replay,
  type TokenStates,
} from './token-tables.ts'

/** What may be refused of each kind, when others have been quicker or the token has not got what is asked. */
const REFUSALS: Partial<Record<Op['kind'], readonly string[]>> = {
  user: ['DUPLICATE_TOKEN_NAME'],
  internal: ['UNAUTHENTICATED', 'INVALID_SCOPES', 'INSUFFICIENT_LIFETIME'],
  notebook: ['UNAUTHENTICATED', 'INSUFFICIENT_LIFETIME'],
  modify: ['NOT_FOUND', 'DUPLICATE_TOKEN_NAME'],
  revoke: ['NOT_FOUND'],
}

const QUERIES = {
  session:
    'mutation ($input: CreateSessionTokenInput!) { made: createSessionToken(input: $input) { token } }',
  user: 'mutation ($input: CreateUserTokenInput!) { made: createUserToken(input: $input) { token } }',
  service:
    'mutation ($input: CreateServiceTokenInput!) { made: createServiceToken(input: $input) { token } }',
  internal: `mutation ($service: String!, $scopes: [String!]!, $minimum: Int) {
    made: internalToken(service: $service, scopes: $scopes, minimumLifetime: $minimum) { token source } }`,
  notebook: 'mutation ($minimum: Int) { made: notebookToken(minimumLifetime: $minimum) { token source } }',
  modify: 'mutation ($key: ID!, $input: ModifyTokenInput!) { modifyToken(key: $key, input: $input) { key } }',
  revoke: 'mutation ($key: ID!) { revokeToken(key: $key) { keys } }',
  revokeMany: 'mutation ($filter: RevokeTokensFilter!) { revokeTokens(filter: $filter) { count } }',
  clear: 'mutation { clearTokenCache { internal } }',
} as const

/** Two processes, their stores, and what looks after these. */
export interface Stage {
  readonly clock: Clock
  readonly bootstrapToken: string
  readonly sql: Porthor['sql']
  /** Everything in the token store, by key. */
  readonly entries: () => Promise<ReadonlyMap<TokenKey, StoredRecord>>
  readonly ask: (process: 0 | 1, query: string, options: AskOptions) => Promise<GraphQLAnswer>
  /** Of a third process, which does upkeep and audits. */
  readonly services: Pick<Services, 'maintenance' | 'audit' | 'pendingChanges'>
  /** The same, at a time when nothing can be under way any more. */
  readonly servicesAfterCrash: Pick<Services, 'maintenance' | 'audit' | 'pendingChanges'>
}

interface Known {
  readonly bearer: string
  readonly key: TokenKey
  readonly isUser: boolean
  /** When it was last looked at. */
  readonly scopes: readonly string[]
}

/** What has happened on a stage that was empty, and what must be so now. */
export class LifeOfTokens {
  readonly #stage: Stage
  #known: Known[] = []
  /** The minimum lifetime that each token was made for, where the answer arrived. */
  readonly #minimums = new Map<string, number | null>()
  /** Tokens that a crash has left half done: others may have been made beside them. */
  readonly #broken = new Set<string>()

  constructor(stage: Stage) {
    this.#stage = stage
  }

  get keys(): readonly TokenKey[] {
    return this.#known.map(({ key }) => key)
  }

  /**
   * Does it, and sees that the answer is one that may be given.
   *
   * @param dying The process that is going to crash meanwhile, and may not answer.
   */
  async play(op: Op, dying?: 0 | 1): Promise<void> {
    if (op.kind === 'upkeep') return void (await this.#stage.services.maintenance.run())
    if (op.kind === 'audit') return this.#audit(dying !== undefined)
    const isDying = op.process === dying
    const request = this.#request(op)
    if (!request) return
    const query = QUERIES[op.kind]
    const ask = () => this.#stage.ask(op.process, query, { token: this.#stage.bootstrapToken, ...request })
    const answer = await (isDying
      ? ask().catch(() => undefined)
      : again(ask, ({ code }) => code === 'UNAVAILABLE'))
    if (!answer || (isDying && answer.code === 'UNAVAILABLE')) return
    const { made } = (answer.data ?? {}) as { made?: { token: string; source?: string } }
    if (answer.code !== undefined) expect(REFUSALS[op.kind] ?? [], op.kind).toContain(answer.code)
    else if (made) this.#note(made.token, op, made.source)
  }

  /** Only a crash gives it anything to find, whatever else is going on. */
  async #audit(mayFind: boolean): Promise<void> {
    const audit = () =>
      findingsOf(this.#stage.services.audit, true).catch((error: unknown) => {
        if (error instanceof UnavailableError) return undefined
        throw error
      })
    const found = (await again(audit, (answer) => answer === undefined)) ?? []
    for (const key of keysOf(found)) this.#broken.add(key)
    if (!mayFind) expect(found).toEqual([])
  }

  /** Holds what the stores say against each other, while nothing is under way. */
  async check(): Promise<void> {
    expect(await this.#disagreements()).toEqual([])
  }

  /** As `check`, after a crash: what the stores disagree on the audit finds, and with upkeep mends. */
  async checkAfterCrash(): Promise<void> {
    // Of one clock: a row that an audit ends now goes with an upkeep for which it is not before that.
    const { audit, maintenance, pendingChanges } = this.#stage.servicesAfterCrash
    // As servers do within a minute: what is decided is no disagreement that an audit is to mend.
    await pendingChanges.completeAll(0)
    const disagreements = await this.#disagreements()
    const found = keysOf(await findingsOf(audit, false))
    for (const key of found) this.#broken.add(key)
    expect(found).toEqual(expect.arrayContaining(disagreements))
    await findingsOf(audit, true)
    await maintenance.run()
    expect(await findingsOf(audit, false)).toEqual([])
    await this.check()
  }

  /** Keys on which the stores disagree. What concerns lineage and history must hold even then. */
  async #disagreements(): Promise<TokenKey[]> {
    const { sql, clock } = this.#stage
    const history = await readHistory(sql)
    const tokens = await readTokens(sql)
    expect(tokens).toEqual(replay(history, (states, entry) => this.#expectNoTwin(states, entry)))
    const now = clock.now()
    const valid = [...(await this.#stage.entries())].flatMap(([key, entry]) =>
      'data' in entry && isLiving(entry.data.expiresAt, now) ? [{ ...entry.data, key }] : [],
    )
    expectWithinParents(valid, tokens)
    this.#known = this.#known.flatMap((known) => {
      const token = valid.find(({ key }) => key === known.key)
      return token ? [{ ...known, scopes: token.scopes }] : []
    })

    const stored = valid.map(({ key, scopes, expiresAt }) =>
      line(key, formatScopes(scopes), format(expiresAt)),
    )
    const onRecord = [...tokens]
      .filter(([, { expires }]) => expires === null || expires > formatTime(now))
      .map(([key, { scopes, expires }]) => line(key, scopes, expires))
    const differing = [
      ...stored.filter((text) => !onRecord.includes(text)),
      ...onRecord.filter((text) => !stored.includes(text)),
    ]
    return [...new Set(differing.map((text) => text.slice(0, KEY_LENGTH) as TokenKey))]
  }

  #expectNoTwin(states: TokenStates, entry: HistoryEntry): void {
    if (entry.parent === null) return
    const minimum = this.#minimums.has(entry.token) ? this.#minimums.get(entry.token) : LIFE - 300
    const needed = formatTime(new Date(Date.parse(`${entry.time}Z`) + (minimum ?? LIFE / 2) * 1_000))
    const [earliestEnd = needed] = [needed, states.get(entry.parent)?.expires ?? needed].sort()
    const twins = livingTwins(states, entry, earliestEnd)
    expect(twins.filter((key) => !this.#broken.has(key))).toEqual([])
  }

  #note(bearer: string, op: Op, source: string | undefined): void {
    const { key } = parseToken(bearer)
    if (source === 'NEW' && 'minimum' in op) this.#minimums.set(key, op.minimum)
    if (this.#known.some((known) => known.key === key)) return
    this.#known.push({ bearer, key, isUser: op.kind === 'user', scopes: [] })
  }

  /** `undefined` where there is no token that it could be about. */
  #request(op: Exclude<Op, { kind: 'upkeep' | 'audit' }>): AskOptions | undefined {
    switch (op.kind) {
      case 'session':
        return { variables: { input: { username: op.username, scopes: op.scopes } } }
      case 'user':
        return {
          variables: {
            input: {
              username: op.username,
              tokenName: op.name,
              scopes: op.scopes,
              expiresAt: this.#end(op.endsIn),
            },
          },
        }
      case 'service':
        return {
          variables: {
            input: { username: 'bot-worker', scopes: ['read:all'], expiresAt: this.#end(op.endsIn) },
          },
        }
      case 'internal':
      case 'notebook': {
        const parent = this.#pick(op.token)
        const scopes = 'scopes' in op ? op.scopes.filter((scope) => parent?.scopes.includes(scope)) : []
        return parent && { token: parent.bearer, variables: { ...op, scopes } }
      }
      case 'modify': {
        const key = this.#pick(op.token, ({ isUser }) => isUser)?.key
        const expiry =
          op.endsIn === null ? { noExpire: true } : { expiresAt: op.endsIn && this.#end(op.endsIn) }
        return key && { variables: { key, input: { scopes: op.scopes, tokenName: op.name, ...expiry } } }
      }
      case 'revoke': {
        const key = this.#pick(op.token)?.key
        return key && { variables: { key } }
      }
      case 'revokeMany': {
        if (!('ancestor' in op.filter)) return { variables: { filter: op.filter } }
        const ancestor = this.#pick(op.filter.ancestor)?.key
        return ancestor && { variables: { filter: { ancestor } } }
      }
      default:
        return {}
    }
  }

  #pick(index: number, is: (known: Known) => boolean = () => true): Known | undefined {
    const candidates = this.#known.filter(is)
    return candidates[index % candidates.length]
  }

  #end(endsIn: number | null): Date | null {
    return endsIn === null ? null : new Date(this.#stage.clock.now().getTime() + endsIn * 1_000)
  }
}

/**
 * Asks until the answer is not one to try again after, three times at the most: of those who lock whole
 * trees from both ends PostgreSQL may have to let one go, who then says that it is not available.
 */
async function again<T>(ask: () => Promise<T>, isTryAgain: (answer: T) => boolean): Promise<T> {
  let answer = await ask()
  for (let retries = 0; retries < 3 && isTryAgain(answer); retries += 1) answer = await ask()
  return answer
}

async function findingsOf(audit: Services['audit'], fix: boolean): Promise<AuditedFinding[]> {
  const findings: AuditedFinding[] = []
  for await (const finding of audit.run({ fix })) findings.push(finding)
  return findings
}

const keysOf = (findings: readonly AuditedFinding[]): TokenKey[] => findings.flatMap(({ key }) => key ?? [])

const KEY_LENGTH = 22

const isLiving = (expiresAt: Date | null, now: Date): boolean => expiresAt === null || expiresAt > now

const formatTime = (date: Date): string => formatTimestamp(date).slice(0, 'YYYY-MM-DD hh:mm:ss'.length)

const format = (date: Date | null): string | null => date && formatTime(date)

const line = (key: string, scopes: string, expires: string | null): string => `${key} ${scopes} ${expires}`
