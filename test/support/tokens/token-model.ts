import { expect } from 'vitest'
import type { DelegationRequest } from '../../../src/domain/delegation.ts'
import type { TokenData, TokenKey } from '../../../src/domain/token.ts'
import type { DelegatedToken } from '../../../src/services/delegation/token-cache-service.ts'

/** A request as a test makes it, before anybody has looked whether it may be granted. */
export interface Wish {
  readonly parent: TokenData
  readonly request: DelegationRequest
  readonly minimumLifetime: number | undefined
}

interface Known {
  readonly data: TokenData
  readonly parentKey: TokenKey | null
  /** What makes children interchangeable; the same text for the same parent, type, service and scopes. */
  readonly shape: string
  /** Whether the token store has not lost it. */
  isStored: boolean
}

/** Every token that was made, and what rules 2 to 4 of the design say of them: the oracle of the properties. */
export class TokenModel {
  readonly #life: number
  readonly #known = new Map<TokenKey, Known>()
  readonly #revoked = new Set<TokenKey>()

  /** @param life Of a delegated token, in seconds. */
  constructor(root: TokenData, life: number) {
    this.#life = life
    this.#known.set(root.token.key, { data: root, parentKey: null, shape: '', isStored: true })
  }

  /** Tokens that were made, the oldest first, whether they still live or not. */
  get made(): readonly TokenData[] {
    return [...this.#known.values()].map(({ data }) => data)
  }

  isLive(key: TokenKey, now: Date): boolean {
    const known = this.#known.get(key)
    return known?.isStored === true && (known.data.expiresAt === null || known.data.expiresAt > now)
  }

  /** Keys that must still have a row each, and a parent's where they have one. */
  get rows(): readonly { readonly token: TokenKey; readonly parent: TokenKey | null }[] {
    return [...this.#known]
      .filter(([token]) => !this.#revoked.has(token))
      .map(([token, { parentKey: parent }]) => ({ token, parent }))
  }

  lose(key: TokenKey): void {
    const known = this.#known.get(key)
    if (known) known.isStored = false
  }

  /** Ends a token and all below it. */
  revoke(key: TokenKey): void {
    this.lose(key)
    this.#revoked.add(key)
    for (const [child, { parentKey }] of this.#known) {
      if (parentKey === key && !this.#revoked.has(child)) this.revoke(child)
    }
  }

  isBelow(key: TokenKey | null, top: TokenKey): boolean {
    return key !== null && (key === top || this.isBelow(this.#known.get(key)?.parentKey ?? null, top))
  }

  /** The code that the wish must be refused with; `undefined` when it must be granted. */
  refusal({ parent, request, minimumLifetime = 300 }: Wish, now: Date): string | undefined {
    if (request.type === 'internal' && request.scopes.some((scope) => !parent.scopes.includes(scope))) {
      return 'INVALID_SCOPES'
    }
    return seconds(parent.expiresAt, now) < minimumLifetime ? 'INSUFFICIENT_LIFETIME' : undefined
  }

  /** Whether a child that lives satisfies the wish, so that no new one may be made. */
  hasMatch(wish: Wish, now: Date): boolean {
    return this.#liveOfShape(wish, now).some(({ data }) => this.#isMatch(data, wish, now))
  }

  /** Holds an answer against the rules. Call `add` for new ones after all answers of the same moment. */
  check(wish: Wish, { data, source }: DelegatedToken, now: Date): void {
    const { parent, request, minimumLifetime } = wish
    expect(data).toMatchObject({
      type: request.type,
      username: parent.username,
      userInfo: parent.userInfo,
      scopes: request.type === 'internal' ? request.scopes : parent.scopes,
      ...(request.type === 'internal' && { service: request.service }),
    })
    const left = seconds(data.expiresAt, now)
    expect(left).toBeLessThanOrEqual(seconds(parent.expiresAt, now))
    const endsWithParent = data.expiresAt.getTime() === parent.expiresAt?.getTime()
    const half = seconds(data.expiresAt, data.createdAt) / 2
    expect(left).toBeGreaterThanOrEqual(minimumLifetime ?? (endsWithParent ? 1 : half))

    if (source === 'new') {
      expect(this.#known.has(data.token.key)).toBe(false)
      expect(left).toBe(Math.min(this.#life, seconds(parent.expiresAt, now)))
    }
  }

  /** Holds an answer that was not new against what was made before: for requests that nobody raced. */
  checkReused(wish: Wish, { data, source }: DelegatedToken, now: Date): void {
    const live = this.#liveOfShape(wish, now)
    expect(live.map((child) => child.data)).toContainEqual(data)
    if (source !== 'database') return
    const ends = live.map((child) => seconds(child.data.expiresAt, now))
    expect(seconds(data.expiresAt, now)).toBe(Math.max(...ends))
  }

  add(wish: Wish, { data }: DelegatedToken): void {
    const parentKey = wish.parent.token.key
    this.#known.set(data.token.key, { data, parentKey, shape: shapeOf(wish), isStored: true })
  }

  /** No two live children of one shape are as good as each other: the later one was needed. */
  checkOneLiveChildPerShape(now: Date): void {
    const seen = new Set<string>()
    for (const [key, { data, parentKey, shape }] of this.#known) {
      if (parentKey === null || !this.isLive(key, now)) continue
      const rank = `${shape} ${seconds(data.expiresAt, now)}`
      expect(seen).not.toContain(rank)
      seen.add(rank)
    }
  }

  #liveOfShape(wish: Wish, now: Date): Known[] {
    const shape = shapeOf(wish)
    return [...this.#known.values()].filter(
      (known) => known.shape === shape && this.isLive(known.data.token.key, now),
    )
  }

  #isMatch(child: TokenData, { parent, minimumLifetime }: Wish, now: Date): boolean {
    const needed = Math.min(minimumLifetime ?? this.#life / 2, seconds(parent.expiresAt, now))
    return seconds(child.expiresAt, now) >= needed
  }
}

const seconds = (end: Date | null, now: Date): number =>
  end === null ? Number.POSITIVE_INFINITY : (end.getTime() - now.getTime()) / 1000

const shapeOf = ({ parent, request }: Wish): string =>
  request.type === 'internal'
    ? [parent.token.key, request.service, ...request.scopes].join(' ')
    : `${parent.token.key} notebook`
