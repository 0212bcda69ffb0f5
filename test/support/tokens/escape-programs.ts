import fc from 'fast-check'
import { expect } from 'vitest'
import { SELF } from '../../../src/domain/gateway.ts'
import type { TokenModification } from '../../../src/domain/modification.ts'
import { DELEGATE_SCOPE } from '../../../src/domain/scope.ts'
import { formatToken, isDelegatedType, type TokenData, type TokenKey } from '../../../src/domain/token.ts'
import type { Caller } from '../../../src/services/tokens/token-service.ts'
import { makeGateway } from '../porthor/gateway.ts'
import type { Porthor } from '../porthor/porthor.ts'

/** Lifetime of a session, in seconds. */
export const LIFE = 3_600

/** Scopes of every token where they are permitted. */
const SCOPES = ['admin:token', 'user:token']

const BOOTSTRAP: Caller = { actor: { kind: 'bootstrap' }, ipAddress: null }

/** What the holder of one of the tokens does. Which one is drawn from those that there are by then. */
export interface Step {
  readonly token: number
  readonly does: (typeof ACTS)[number]
  /** Of an edit, a revocation, an expiry, and a delegation by a gateway: which token it is about. */
  readonly target: number
}

const OBTAINING = ['internal', 'notebook', 'exchange', 'user', 'service', 'gateway', 'session'] as const
const ACTS = [...OBTAINING, 'extend', 'narrow', 'revoke', 'expire'] as const

const step = fc.record<Step>({
  // The newest come up most: chains are what escapes.
  token: fc.oneof({ weight: 3, arbitrary: fc.nat(1) }, { weight: 1, arbitrary: fc.nat(11) }),
  does: fc.oneof(
    { weight: 8, arbitrary: fc.constantFrom<Step['does']>(...OBTAINING, 'internal') },
    { weight: 1, arbitrary: fc.constantFrom<Step['does']>('extend', 'narrow') },
    { weight: 1, arbitrary: fc.constantFrom<Step['does']>('revoke', 'expire') },
  ),
  target: fc.nat(7),
})

/** A delegated token that creates a gateway, which delegates for somebody: single steps seldom come to that. */
const throughGateway = fc
  .tuple(fc.constantFrom<Step['does']>('internal', 'notebook', 'exchange'), fc.nat(3))
  .map(([does, target]): Step[] => [
    { token: 0, does, target: 0 },
    { token: 0, does: 'gateway', target: 0 },
    { token: 0, does, target },
  ])

export const steps = fc
  .array(
    fc.oneof({ weight: 6, arbitrary: step.map((each) => [each]) }, { weight: 1, arbitrary: throughGateway }),
    { minLength: 3, maxLength: 9, size: 'max' },
  )
  .map((parts) => parts.flat())

/** A token that was obtained, and the tokens with which it has to end. */
export interface Obtained {
  readonly data: TokenData
  readonly endsWith: ReadonlySet<TokenKey>
}

/** Runs programs on one Porthor. */
export class Programs {
  readonly #h: Porthor
  #names = 0

  constructor(h: Porthor) {
    this.#h = h
  }

  /**
   * Runs a program from one session on, and returns all that was obtained, that session first. Where gateways delegate, there
   * is one that nothing of the program has created.
   */
  async run(program: readonly Step[]): Promise<Obtained[]> {
    const { services } = this.#h.context
    const session = await services.tokens.createSession(BOOTSTRAP, { username: 'wren', scopes: SCOPES })
    const gateway = await makeGateway(this.#h)
    const all: Obtained[] = [{ data: session, endsWith: new Set() }]
    for (const step of program) {
      const by = all[all.length - 1 - (step.token % all.length)]
      this.#h.clock.advance(1)
      const obtained = by && (await this.#attempt(() => this.#act(by, step, all, gateway)))
      if (obtained) all.push(obtained)
    }
    return all
  }

  /** Ends a token as `expire` and `revoke` do. */
  async end({ data: { token, expiresAt } }: Obtained, does: 'revoke' | 'expire'): Promise<void> {
    const { clock } = this.#h
    const { revocation } = this.#h.context.services
    const operator: Caller = { actor: { kind: 'operator' }, ipAddress: null }
    if (does === 'revoke') {
      await this.#attempt(() => revocation.revoke(operator, token.key))
    } else if (expiresAt) {
      clock.advance(Math.max(0, (expiresAt.getTime() - clock.now().getTime()) / 1_000))
    }
  }

  /** Returns the keys of the tokens that are accepted now. */
  async accepted(all: readonly Obtained[]): Promise<ReadonlySet<TokenKey>> {
    const found = await Promise.all(
      all.map(async ({ data }) => (await this.#authenticate(formatToken(data.token)))?.token.key),
    )
    return new Set(found.filter((key) => key !== undefined))
  }

  /** Returns what `by` obtains; nothing where it ends or edits a token. */
  async #act(
    by: Obtained,
    { does, target }: Step,
    all: readonly Obtained[],
    gateway: TokenData,
  ): Promise<Obtained | undefined> {
    const { services } = this.#h.context
    const other = all[target % all.length] ?? by
    const caller: Caller = { actor: { kind: 'token', data: by.data }, ipAddress: null }
    const facts = { username: 'wren', scopes: SCOPES, expiresAt: null }
    this.#names += 1
    switch (does) {
      case 'internal':
      case 'notebook':
      case 'exchange':
        return this.#delegate(does, by, other, gateway)
      case 'user': {
        const input = { ...facts, tokenName: `${this.#names}`, username: undefined }
        return created(by, await services.tokens.createUser(caller, input))
      }
      case 'service':
      case 'gateway': {
        const scopes = does === 'gateway' ? [...SCOPES, DELEGATE_SCOPE] : SCOPES
        const input = { ...facts, scopes, username: 'bot-wren' }
        return created(by, await services.tokens.createService(caller, input))
      }
      case 'session':
        return created(by, await services.tokens.createSession(caller, facts))
      case 'extend':
        return this.#edit(caller, other, { expiresAt: null, scopes: SCOPES })
      case 'narrow':
        return this.#edit(caller, other, { scopes: ['user:token'] })
      case 'revoke':
        await services.revocation.revoke(caller, other.data.token.key)
        return undefined
      case 'expire':
        await this.end(other, 'expire')
        return undefined
    }
  }

  async #edit(caller: Caller, { data }: Obtained, change: TokenModification): Promise<undefined> {
    await this.#h.context.services.modification.modify(caller, data.token.key, change)
  }

  /** A holder of `delegate:token` delegates for the holder of `other`; for all others, `gateway` does. */
  async #delegate(
    does: 'internal' | 'notebook' | 'exchange',
    by: Obtained,
    other: Obtained,
    gateway: TokenData,
  ): Promise<Obtained | undefined> {
    const { subjects, tokenCache } = this.#h.context.services
    const isForHolder = this.#h.context.config.delegationRights.mode === 'self'
    const isGateway = by.data.scopes.includes(DELEGATE_SCOPE)
    const subject = isForHolder || !isGateway ? by : other
    const acting = isGateway ? by.data : gateway
    const service = `s-${this.#names}`
    const delegation = async () =>
      isForHolder
        ? { parent: by.data, by: SELF }
        : subjects.authenticate({ kind: 'token', data: acting }, formatToken(subject.data.token))
    const obtain = async (): Promise<TokenData | undefined> => {
      if (does === 'exchange') return this.#exchange(subject.data, service, isForHolder ? undefined : acting)
      const { parent, ...options } = await delegation()
      return does === 'internal'
        ? (await tokenCache.getInternalToken(parent, service, SCOPES, null, options)).data
        : (await tokenCache.getNotebookToken(parent, null, options)).data
    }
    const data = await obtain()
    // A gateway that a delegated token has created must not obtain what outlives that token.
    const acted = isGateway && by.endsWith.size > 0 ? [...by.endsWith, by.data.token.key] : []
    return data && { data, endsWith: new Set([...subject.endsWith, subject.data.token.key, ...acted]) }
  }

  /** The same over HTTP, by RFC 8693. */
  async #exchange(
    subject: TokenData,
    audience: string,
    client: TokenData | undefined,
  ): Promise<TokenData | undefined> {
    const type = 'urn:ietf:params:oauth:token-type:access_token'
    const response = await fetch(new URL('/oauth/token', this.#h.url), {
      method: 'POST',
      headers: client ? { Authorization: `Bearer ${formatToken(client.token)}` } : {},
      body: new URLSearchParams({
        grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
        subject_token: formatToken(subject.token),
        subject_token_type: type,
        audience,
        scope: SCOPES.join(' '),
      }),
    })
    const body = (await response.json()) as { readonly access_token?: string }
    expect(response.status).toBeLessThan(500)
    return body.access_token === undefined ? undefined : this.#authenticate(body.access_token)
  }

  /** Returns the data of a token, if it is accepted. */
  async #authenticate(bearer: string): Promise<TokenData | undefined> {
    const actor = await this.#attempt(() => this.#h.context.services.authenticator.authenticate(bearer))
    return actor?.kind === 'token' ? actor.data : undefined
  }

  async #attempt<T>(act: () => Promise<T>): Promise<T | undefined> {
    return act().catch((error: unknown) => {
      expect(REFUSALS).toContain((error as { code?: unknown }).code)
      return undefined
    })
  }
}

/** What a user creates with a token of their own is meant to survive that token. */
const created = (by: Obtained, data: TokenData): Obtained => ({
  data,
  endsWith:
    by.endsWith.size === 0 && !isDelegatedType(by.data)
      ? new Set()
      : new Set([...by.endsWith, by.data.token.key]),
})

const REFUSALS = [
  'PERMISSION_DENIED',
  'UNAUTHENTICATED',
  'INSUFFICIENT_LIFETIME',
  'DELEGATION_TOO_DEEP',
  'INVALID_EXPIRES',
  'INVALID_SCOPES',
  'NOT_FOUND',
]
