import fc from 'fast-check'
import { expect } from 'vitest'
import { formatScopes } from '../../src/domain/scope.ts'
import { parseToken, type TokenKey } from '../../src/domain/token.ts'
import type { Clock } from '../../src/lib/clock.ts'
import type { AuditedFinding } from '../../src/services/audit-service.ts'
import type { Services } from '../../src/services/services.ts'
import { formatTimestamp } from '../../src/stores/timestamp.ts'
import type { StoredEntry } from '../../src/stores/token-store.ts'
import type { AskOptions, GraphQLAnswer, Harness } from './harness.ts'
import {
  expectWithinParents,
  type HistoryEntry,
  livingTwins,
  readHistory,
  readTokens,
  replay,
  type TokenStates,
} from './token-tables.ts'

/** Life of a delegated token in these tests, in seconds, where its parent does not end sooner. */
export const LIFE = 3_600

/** Something that somebody does by one of two processes. Which token it is about is drawn from those known by then. */
export type Op = { readonly process: 0 | 1 } & (
  | { readonly kind: 'session'; readonly username: string; readonly scopes: readonly string[] }
  | {
      readonly kind: 'user'
      readonly username: string
      readonly name: string
      readonly scopes: readonly string[]
      readonly endsIn: number | null
    }
  | { readonly kind: 'service'; readonly endsIn: number | null }
  | {
      readonly kind: 'internal'
      readonly token: number
      readonly service: string
      readonly scopes: readonly string[]
      readonly minimum: number | null
    }
  | { readonly kind: 'notebook'; readonly token: number; readonly minimum: number | null }
  | {
      readonly kind: 'modify'
      readonly token: number
      readonly scopes: readonly string[] | undefined
      readonly endsIn: number | null | undefined
      readonly name: string | undefined
    }
  | { readonly kind: 'revoke'; readonly token: number }
  | {
      readonly kind: 'revokeMany'
      readonly filter: { username: string } | { service: string } | { ancestor: number }
    }
  | { readonly kind: 'upkeep' | 'audit' | 'clear' }
)

const process = fc.constantFrom(0 as const, 1 as const)
const username = fc.constantFrom('wren', 'robin')
const name = fc.constantFrom('laptop', 'desk')
const service = fc.constantFrom('tap', 'portal')
const scopes = fc.subarray(['read:all', 'read:tap', 'exec:notebook'])
const endsIn = fc.constantFrom(null, 400, 1_000, LIFE, 3 * LIFE, 30 * LIFE)
const minimum = fc.constantFrom(null, null, null, 300, LIFE / 2, LIFE - 300)
const token = fc.nat(7)
const kind = <K extends string>(...kinds: K[]) => fc.constantFrom(...kinds)

const modify = fc.record({
  process,
  kind: kind('modify'),
  token,
  scopes: fc.option(scopes, { nil: undefined }),
  endsIn: fc.option(endsIn, { nil: undefined }),
  name: fc.option(name, { nil: undefined, freq: 1 }),
})
const revoke = fc.record({ process, kind: kind('revoke'), token })
const internal = fc.record({ process, kind: kind('internal'), token, service, scopes, minimum })

/** What takes several steps in both stores, and so can be half done. */
export const longOps: fc.Arbitrary<Op> = fc.oneof(modify, modify, revoke, internal)

/** Anything that may be asked. */
export const ops: fc.Arbitrary<Op> = fc.oneof(
  { weight: 2, arbitrary: fc.record({ process, kind: kind('session'), username, scopes }) },
  { weight: 4, arbitrary: fc.record({ process, kind: kind('user'), username, name, scopes, endsIn }) },
  { weight: 1, arbitrary: fc.record({ process, kind: kind('service'), endsIn }) },
  { weight: 9, arbitrary: internal },
  { weight: 4, arbitrary: fc.record({ process, kind: kind('notebook'), token, minimum }) },
  { weight: 5, arbitrary: modify },
  { weight: 2, arbitrary: revoke },
  {
    weight: 1,
    arbitrary: fc.record({
      process,
      kind: kind('revokeMany'),
      filter: fc.oneof(fc.record({ username }), fc.record({ service }), fc.record({ ancestor: token })),
    }),
  },
  { weight: 2, arbitrary: fc.record({ process, kind: kind('upkeep', 'audit', 'clear') }) },
)

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
  readonly sql: Harness['sql']
  /** Everything in the token store, by key. */
  readonly entries: () => Promise<ReadonlyMap<TokenKey, StoredEntry>>
  readonly ask: (process: 0 | 1, query: string, options: AskOptions) => Promise<GraphQLAnswer>
  /** Of a third process, which does upkeep and audits. */
  readonly services: Pick<Services, 'upkeep' | 'audit'>
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
  /** Tokens whose two expiries a crash has left different: the audit tells of them, and does not mend them. */
  readonly #unmended = new Set<string>()

  constructor(stage: Stage) {
    this.#stage = stage
  }

  get keys(): readonly TokenKey[] {
    return this.#known.map(({ key }) => key)
  }

  /**
   * Does it, and sees that the answer is one that may be given.
   *
   * @param isDying Whether the process is going to crash meanwhile, and may not answer.
   */
  async play(op: Op, { isDying = false }: { readonly isDying?: boolean } = {}): Promise<void> {
    if (op.kind === 'upkeep') return void (await this.#stage.services.upkeep.run())
    if (op.kind === 'audit') return void (await this.audit({ fix: true }))
    const request = this.#request(op)
    if (!request) return
    const asked = this.#stage.ask(op.process, QUERIES[op.kind], {
      token: this.#stage.bootstrapToken,
      ...request,
    })
    const answer = await asked.catch((error: unknown) => {
      if (!isDying) throw error
    })
    if (!answer || (isDying && answer.code === 'UNAVAILABLE')) return
    const { made } = (answer.data ?? {}) as { made?: { token: string; source?: string } }
    if (answer.code !== undefined) expect(REFUSALS[op.kind] ?? [], op.kind).toContain(answer.code)
    else if (made) this.#note(made.token, op, made.source)
  }

  async audit({ fix }: { readonly fix: boolean }): Promise<AuditedFinding[]> {
    const findings: AuditedFinding[] = []
    for await (const finding of this.#stage.services.audit.run({ fix })) findings.push(finding)
    return findings
  }

  /** Holds what the stores say against each other, while nothing is under way. */
  async check(): Promise<void> {
    const disagreements = await this.#disagreements()
    expect(disagreements.filter((key) => !this.#unmended.has(key))).toEqual([])
  }

  /** As `check`, after a crash: what the stores disagree on the audit finds, and with upkeep mends. */
  async checkAfterCrash(): Promise<void> {
    const disagreements = await this.#disagreements()
    const found = (await this.audit({ fix: false })).map(({ key }) => key)
    for (const key of found) this.#broken.add(key)
    expect(found).toEqual(expect.arrayContaining(disagreements))
    await this.audit({ fix: true })
    await this.#stage.services.upkeep.run()
    const left = await this.audit({ fix: false })
    expect(left.filter(({ kind, detail }) => kind !== 'mismatch' || detail !== 'expires')).toEqual([])
    for (const { key } of left) this.#unmended.add(key)
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

const KEY_LENGTH = 22

const isLiving = (expiresAt: Date | null, now: Date): boolean => expiresAt === null || expiresAt > now

const formatTime = (date: Date): string => formatTimestamp(date).slice(0, 'YYYY-MM-DD hh:mm:ss'.length)

const format = (date: Date | null): string | null => date && formatTime(date)

const line = (key: string, scopes: string, expires: string | null): string => `${key} ${scopes} ${expires}`
