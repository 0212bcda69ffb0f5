import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { DelegationRequest } from '../../../src/domain/delegation.ts'
import { toScopes } from '../../../src/domain/scope.ts'
import type { TokenData } from '../../../src/domain/token.ts'
import type {
  DelegatedToken,
  TokenCacheService,
} from '../../../src/services/delegation/token-cache-service.ts'
import { IP, LIFE, SHORT_LIVED } from '../../support/porthor/parent-token.ts'
import { OPERATOR } from '../../support/porthor/paused-revocation.ts'
import { type PorthorInTest, usePorthor } from '../../support/porthor/use-porthor.ts'
import { TokenModel, type Wish } from '../../support/tokens/token-model.ts'
import { heldUp } from '../../support/waiting/gate.ts'

const SCOPES = ['read:all', 'read:tap', 'exec:notebook']

/** A wish before it is known which tokens there are: the parent is drawn from those made by then. */
interface Draw {
  /** Which of two processes is asked. */
  readonly process: 0 | 1
  readonly parent: number
  readonly request: DelegationRequest
  readonly minimumLifetime: number | undefined
}

// One wish and one parent come up most: only then does one answer depend on what went before.
const requests: fc.Arbitrary<DelegationRequest> = fc.oneof(
  { weight: 4, arbitrary: fc.constant({ type: 'internal', service: 'tap', scopes: ['read:all'] }) },
  { weight: 2, arbitrary: fc.constant({ type: 'notebook', undelegable: new Set<string>() }) },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant('internal'),
      service: fc.constantFrom('tap', 'portal'),
      scopes: fc.subarray(SCOPES).map(toScopes),
    }),
  },
)

const draws: fc.Arbitrary<Draw> = fc.record({
  process: fc.constantFrom(0, 1),
  // The oldest is the session.
  parent: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(3) }),
  request: requests,
  minimumLifetime: fc.constantFrom(undefined, undefined, 300, 600, LIFE / 2, LIFE - 300),
})

/** What the commands work on: one session, and the two processes. */
class World {
  readonly porthor: PorthorInTest
  readonly session: TokenData
  readonly #other: TokenCacheService

  constructor(porthor: PorthorInTest, session: TokenData, other: TokenCacheService) {
    this.porthor = porthor
    this.session = session
    this.#other = other
  }

  get now(): Date {
    return this.porthor.clock.now()
  }

  process(which: 0 | 1): TokenCacheService {
    return which === 0 ? this.porthor.cache : this.#other
  }

  ask({ process }: Draw, { parent, request, minimumLifetime }: Wish): Promise<DelegatedToken> {
    const cache = this.process(process)
    return request.type === 'internal'
      ? cache.getInternalToken(parent, request.service, request.scopes, IP, { minimumLifetime })
      : cache.getNotebookToken(parent, IP, { minimumLifetime })
  }

  /** What must be so whatever has happened. */
  async check(model: TokenModel): Promise<void> {
    const { porthor, now, session } = this
    const [stored, rows, history] = await Promise.all([
      Promise.all(model.made.map(({ token }) => porthor.tokens.find(token.key))),
      porthor.h.sql(
        'SELECT token, parent FROM token LEFT JOIN subtoken ON child = token WHERE username = $1 ORDER BY token',
        [session.username],
      ),
      porthor.h.sql<{ token: string }>(
        "SELECT token FROM token_change_history WHERE username = $1 AND action = 'create'",
        [session.username],
      ),
    ])
    expect(stored.map((data) => data !== undefined)).toEqual(
      model.made.map(({ token }) => model.isLive(token.key, now)),
    )
    expect(rows).toEqual([...model.rows].sort((a, b) => (a.token < b.token ? -1 : 1)))
    expect(history.map(({ token }) => token).sort()).toEqual(model.made.map(({ token }) => token.key).sort())
    model.checkOneLiveChildPerShape(now)
  }
}

type Command = fc.AsyncCommand<TokenModel, World>

const command = (text: string, run: (model: TokenModel, world: World) => Promise<void>): Command => ({
  check: () => true,
  run: async (model, world) => {
    await run(model, world)
    await world.check(model)
  },
  toString: () => text,
})

const pick = (model: TokenModel, index: number): TokenData => {
  const { made } = model
  const token = made[index % made.length]
  if (!token) throw new Error('there is always a session')
  return token
}

/** Any token but the session, without which nothing more would happen. */
const pickChild = (model: TokenModel, index: number): TokenData | undefined => {
  const token = pick(model, index)
  return token === pick(model, 0) ? undefined : token
}

const toWish = (model: TokenModel, { parent, request, minimumLifetime }: Draw): Wish => ({
  parent: pick(model, parent),
  request,
  minimumLifetime,
})

const show = (draw: Draw): string =>
  `${draw.process}:${draw.parent}:${draw.request.type === 'internal' ? `${draw.request.service}(${draw.request.scopes})` : 'notebook'}/${draw.minimumLifetime ?? '-'}`

/** One request that nobody races, and the same again, which is then answered from the cache. */
const ask = (draw: Draw): Command =>
  command(`ask ${show(draw)}`, async (model, world) => {
    const { now } = world
    const wish = toWish(model, draw)
    if (!model.isLive(wish.parent.token.key, now)) return
    const refusal = model.refusal(wish, now)
    if (refusal) {
      await expect(world.ask(draw, wish)).rejects.toMatchObject({ code: refusal })
      return
    }
    const answer = await world.ask(draw, wish)
    model.check(wish, answer, now)
    if (answer.source === 'new') {
      expect(model.hasMatch(wish, now)).toBe(false)
      model.add(wish, answer)
    } else {
      model.checkReused(wish, answer, now)
    }
    expect(await world.ask(draw, wish)).toEqual({ data: answer.data, source: 'cache' })
  })

/** Requests at the same time, and perhaps a revoke among them. */
const askAtOnce = (batch: readonly Draw[], revoked: number | undefined): Command =>
  command(`ask at once ${batch.map(show).join(' ')}, revoke ${revoked ?? 'none'}`, async (model, world) => {
    const { now } = world
    const top = revoked === undefined ? undefined : pickChild(model, revoked)
    const asked = batch
      .map((draw) => ({ draw, wish: toWish(model, draw) }))
      .filter(({ wish }) => model.isLive(wish.parent.token.key, now))
    const revoke = top && heldUp(revokeTree(model, world, top))
    const answers = await Promise.all(
      asked.map(async ({ draw, wish }) => {
        const [settled] = await Promise.allSettled([world.ask(draw, wish)])
        return { wish, settled }
      }),
    )
    await revoke

    const fresh = new Map<string, [Wish, DelegatedToken]>()
    for (const { wish, settled } of answers) {
      const refusal = model.refusal(wish, now)
      const isDoomed = top !== undefined && model.isBelow(wish.parent.token.key, top.token.key)
      if (settled.status === 'rejected') {
        expect(settled.reason).toMatchObject({
          code: refusal ?? (isDoomed ? 'UNAUTHENTICATED' : 'no reason to refuse'),
        })
        continue
      }
      expect(refusal).toBe(undefined)
      const answer = settled.value
      model.check(wish, answer, now)
      if (answer.source !== 'new') continue
      // A revoke may have taken the match away.
      if (!top) expect(model.hasMatch(wish, now)).toBe(false)
      fresh.set(answer.data.token.key, [wish, answer])
    }
    for (const [wish, answer] of fresh.values()) model.add(wish, answer)
    if (top) model.revoke(top.token.key)
    for (const { settled } of answers) {
      if (settled.status === 'fulfilled') expect(model.made).toContainEqual(settled.value.data)
    }
  })

/** Revokes by the first of the two processes. A token that was revoked before is not found. */
async function revokeTree(
  model: TokenModel,
  { porthor }: World,
  { token: { key } }: TokenData,
): Promise<void> {
  const hasRow = model.rows.some(({ token }) => token === key)
  const revoked = porthor.h.context.services.revocation.revoke(OPERATOR, key)
  if (hasRow) expect(await revoked).toContain(key)
  else await expect(revoked).rejects.toMatchObject({ code: 'NOT_FOUND' })
}

const waits = fc.constantFrom(1, 299, 300, 600, LIFE / 2, LIFE / 2 + 1, LIFE - 300)

const commands = fc.commands(
  [
    draws.map(ask),
    draws.map(ask),
    fc.array(draws, { minLength: 2, maxLength: 8 }).map((batch) => askAtOnce(batch, undefined)),
    // Equal requests at once are the ones that race.
    fc.tuple(draws, fc.integer({ min: 2, max: 6 })).map(([draw, count]) =>
      askAtOnce(
        Array.from({ length: count }, (_, index) => ({ ...draw, process: index % 2 === 0 ? 0 : 1 })),
        undefined,
      ),
    ),
    fc
      .tuple(fc.array(draws, { minLength: 1, maxLength: 5 }), fc.integer({ min: 1, max: 4 }))
      .map(([batch, revoked]) => askAtOnce(batch, revoked)),
    waits.map((seconds) =>
      command(`wait ${seconds} s`, async (_model, { porthor }) => porthor.clock.advance(seconds)),
    ),
    waits.map((seconds) =>
      command(`wait ${seconds} s`, async (_model, { porthor }) => porthor.clock.advance(seconds)),
    ),
    fc.nat(5).map((index) =>
      command(`lose entry ${index}`, async (model, { porthor }) => {
        const lost = pickChild(model, index)
        if (!lost) return
        await porthor.tokens.delete([lost.token.key])
        model.lose(lost.token.key)
      }),
    ),
    fc
      .constantFrom(0 as const, 1 as const)
      .map((process) =>
        command(`clear ${process}`, async (_model, world) => void world.process(process).clear()),
      ),
    fc.constant(command('restart', (_model, { porthor }) => porthor.h.restart())),
  ],
  { maxCommands: 25, size: 'max' },
)

describe.each([
  ['redis', 30],
  ['postgres', 10],
] as const)('the token cache over %s, with any operations in any order:', (store, numRuns) => {
  const t = usePorthor(store, { ...SHORT_LIVED, TOKEN_LIFETIME: '30d' })

  it('every returned token is valid, grants no more than its parent, and is new only if no live child matched (rules 1 to 8)', async () => {
    const other = t.anotherProcess()
    await fc.assert(
      fc.asyncProperty(commands, fc.constantFrom(null, LIFE, LIFE + 900, 3 * LIFE), async (steps, endsIn) => {
        const session = await t.parent({ scopes: SCOPES, endsIn })
        const world = new World(t, session, other)
        await fc.asyncModelRun(() => ({ model: new TokenModel(session, LIFE), real: world }), steps)
      }),
      { numRuns, endOnFailure: false },
    )
  }, 120_000)
})
