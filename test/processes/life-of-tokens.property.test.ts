import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import { describe, it, vi } from 'vitest'
import { openApp } from '../../src/app.ts'
import { loadConfig } from '../../src/config/config.ts'
import { floorToSecond, systemClock } from '../../src/lib/clock.ts'
import { openPorthor } from '../support/porthor/porthor.ts'
import { silent as log, useSharedStores } from '../support/porthor/shared-stores.ts'
import { type ServerProcess, startServer } from '../support/processes/server-process.ts'
import { LifeOfTokens, type Stage } from '../support/tokens/life-of-tokens.ts'
import { LIFE, longOps, type Op, ops } from '../support/tokens/token-ops.ts'
import { TestClock } from '../support/waiting/test-clock.ts'

// Starting a server takes seconds, on a busy machine many.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 120_000 })

const SETTINGS = { TOKEN_LIFETIME: '1d', DELEGATED_TOKEN_LIFETIME: `${LIFE}s` }

/** Longer than the audit takes an entry for one that is still being made, in seconds. */
const SETTLED = 61

/** What a process is doing when it dies: it is about to say this to a store, or has just been answered. */
interface LastWords {
  /** A piece of SQL, or the number of a known token, whose key is part of what is said. */
  readonly text: string | number
  readonly when: 'before' | 'after'
}

type Step =
  | { readonly kind: 'together'; readonly ops: readonly Op[] }
  | { readonly kind: 'wait'; readonly seconds: number }
  | { readonly kind: 'restart'; readonly process: 0 | 1 }
  | { readonly kind: 'crash'; readonly op: Op; readonly ops: readonly Op[]; readonly last: LastWords }

const together = fc.array(ops, { minLength: 1, maxLength: 8 })
const either = fc.constantFrom(0 as const, 1 as const)
const SQL = ['COMMIT', 'INSERT INTO token', 'UPDATE token', 'DELETE FROM token', 'FOR UPDATE', 'KEY SHARE']
const last: fc.Arbitrary<LastWords> = fc.record({
  text: fc.oneof(fc.constantFrom(...SQL), fc.nat(7), fc.nat(7)),
  when: fc.constantFrom('before' as const, 'after' as const),
})
const wait = fc.constantFrom(1, 299, 300, 600, LIFE / 2, LIFE)
const steps: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ kind: fc.constant('together' as const), ops: together }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('wait' as const), seconds: wait }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('restart' as const), process: either }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('crash' as const), op: longOps, ops: together, last }),
  },
)

const by = { process: 0 } as const
/** A tree of three, of which the last is the deepest. */
const tree: readonly Op[] = [
  { ...by, kind: 'user', username: 'wren', name: 'laptop', scopes: ['read:all', 'read:tap'], endsIn: null },
  { ...by, kind: 'internal', token: 0, service: 'tap', scopes: ['read:all'], minimum: null },
  { ...by, kind: 'notebook', token: 1, minimum: null },
]
const narrow: Op = { ...by, kind: 'modify', token: 0, scopes: [], endsIn: 400, name: 'desk' }

/** Deaths in the middle of each kind of work, which chance finds less often than is good. */
const deaths = (
  [
    [narrow, { text: 0, when: 'after' }],
    [narrow, { text: 1, when: 'before' }],
    [narrow, { text: 2, when: 'before' }],
    [narrow, { text: 'COMMIT', when: 'before' }],
    [narrow, { text: 'COMMIT', when: 'after' }],
    [
      { ...by, kind: 'revoke', token: 0 },
      { text: 'DELETE FROM token', when: 'before' },
    ],
    [
      { ...by, kind: 'revoke', token: 0 },
      { text: 'COMMIT', when: 'after' },
    ],
    [
      { ...by, kind: 'notebook', token: 0, minimum: null },
      { text: 'COMMIT', when: 'before' },
    ],
    [
      { ...by, kind: 'notebook', token: 0, minimum: null },
      { text: 'COMMIT', when: 'after' },
    ],
  ] satisfies [Op, LastWords][]
).map(([op, last]): [Step[]] => [
  [
    ...tree.map((each): Step => ({ kind: 'together', ops: [each] })),
    { kind: 'crash', op, ops: [], last },
    { kind: 'wait', seconds: LIFE },
    { kind: 'together', ops: [{ ...by, kind: 'upkeep' }] },
  ],
])

describe.each([
  ['redis', 10],
  ['postgres', 5],
] as const)('two processes, tokens in %s, whatever happens and in whatever order', (store, numRuns) => {
  const t = useSharedStores(store, SETTINGS)

  it('no token is valid beyond its parent, none is made twice, and the history tells it all', async () => {
    const clock = new TestClock()
    const cables = await Promise.all([t.cable(), t.cable()])
    const both = await Promise.all([
      openPorthor({ env: cables[0].env, clock, isOnGivenStores: true }),
      openPorthor({ env: cables[1].env, clock, isOnGivenStores: true }),
    ])
    const third = openApp(loadConfig(t.env), { clock, log })
    const at = (process: 0 | 1) => ({ porthor: both[process], cable: cables[process] })
    const stage: Stage = {
      ...t.stage(clock),
      ask: (process, query, options) => at(process).porthor.ask(query, options),
      services: third.services,
      servicesAfterCrash: third.services,
    }
    const start = async (process: 0 | 1) => {
      both[process] = await openPorthor({ env: at(process).cable.env, clock, isOnGivenStores: true })
    }

    /** The process that does `op` dies at it, or at one of the others, or when all is done. */
    const crash = async (life: LifeOfTokens, { op, ops, last: { text, when } }: Step & { kind: 'crash' }) => {
      const { process } = op
      const { porthor, cable } = at(process)
      const key = typeof text === 'string' ? undefined : life.keys[text % life.keys.length]
      const trap = typeof text === 'string' ? text : `${store === 'redis' ? 'token:' : ''}${key}`
      const sprung = cable.stopAt(trap, when)
      const played = all([op, ...ops].map((each) => life.play(each, process)))
      await Promise.race([sprung, played])
      await cable.refuse()
      await porthor.close()
      await played
      await t.quiet()
      await cable.pass()
      await start(process)
    }

    const run = async (life: LifeOfTokens, step: Step): Promise<void> => {
      switch (step.kind) {
        case 'together':
          await all(step.ops.map((op) => life.play(op)))
          return life.check()
        case 'wait':
          clock.advance(step.seconds)
          await t.dropExpired(clock)
          return life.check()
        case 'restart':
          await at(step.process).porthor.close()
          await start(step.process)
          return life.check()
        case 'crash':
          await crash(life, step)
          clock.advance(SETTLED)
          await t.dropExpired(clock)
          return life.checkAfterCrash()
      }
    }

    try {
      await fc.assert(
        fc.asyncProperty(fc.array(steps, { minLength: 4, maxLength: 14, size: 'max' }), async (story) => {
          await t.empty()
          const life = new LifeOfTokens(stage)
          for (const step of story) await run(life, step)
        }),
        { numRuns: deaths.length + numRuns, examples: deaths, interruptAfterTimeLimit: 60_000 },
      )
    } finally {
      await Promise.all([...both, third].map((each) => each.close()))
      await Promise.all(cables.map((cable) => cable.close()))
    }
  })
})

/** Some work, and then more of it, in the middle of which a process is killed. */
interface Killing {
  readonly batches: readonly (readonly Op[])[]
  readonly process: 0 | 1
  readonly ops: readonly Op[]
  /** Milliseconds after which it is killed, or the SQL that it has sent to PostgreSQL, which never gets it. */
  readonly at: number | string
}

const kill = (op: Op, at: string): [Killing[]] => [
  [{ batches: tree.map((each) => [each]), process: by.process, ops: [op], at }],
]
/** A token that the token store has let go, and one that PostgreSQL has narrowed, each without the other. */
const kills = [
  kill({ ...by, kind: 'revoke', token: 0 }, 'DELETE FROM token'),
  kill(narrow, 'COMMIT'),
  kill({ ...by, kind: 'notebook', token: 0, minimum: null }, 'COMMIT'),
]

describe('two servers, tokens in redis', () => {
  const t = useSharedStores('redis', SETTINGS)

  it('being killed with SIGKILL in the middle of their work leaves nothing that an audit does not mend', async () => {
    const cables = await Promise.all([t.cable(), t.cable()])
    const start = (process: 0 | 1) => startServer(cables[process].env)
    const servers: Record<0 | 1, ServerProcess> = await Promise.all([start(0), start(1)])
    const third = openApp(loadConfig(t.env), { clock: systemClock, log })
    // Looks after the stores as if a minute had passed: what is younger an audit takes for being under way.
    const now = () => new Date(Date.now() + SETTLED * 1_000)
    const later = openApp(loadConfig(t.env), {
      clock: { ...systemClock, now, nowToSecond: () => floorToSecond(now()) },
      log,
    })
    const stage: Stage = {
      ...t.stage(systemClock),
      ask: (process, query, options) => servers[process].ask(query, options),
      services: third.services,
      servicesAfterCrash: later.services,
    }
    const run = async (life: LifeOfTokens, { batches, process, ops, at }: Killing): Promise<void> => {
      for (const batch of batches) await all(batch.map((op) => life.play(op)))
      await life.check()
      const moment = typeof at === 'string' ? cables[process].stopAt(at, 'hold') : sleep(at)
      const played = all(ops.map((op) => life.play(op, process)))
      await moment
      const [again] = await Promise.all([start(process), servers[process].kill(), played])
      servers[process] = again
      await cables[process].pass()
      await t.quiet()
      await life.checkAfterCrash()
    }
    const killings: fc.Arbitrary<Killing> = fc.record({
      batches: fc.array(together, { minLength: 2, maxLength: 3 }),
      process: either,
      ops: together,
      at: fc.nat(25),
    })
    try {
      await fc.assert(
        fc.asyncProperty(fc.array(killings, { minLength: 2, maxLength: 2 }), async (story) => {
          await t.empty()
          const life = new LifeOfTokens(stage)
          for (const killing of story) await run(life, killing)
        }),
        { numRuns: kills.length + 1, examples: kills, interruptAfterTimeLimit: 60_000 },
      )
    } finally {
      await Promise.all([servers[0].stop(), servers[1].stop(), third.close(), later.close()])
      await Promise.all(cables.map((cable) => cable.close()))
    }
  })
})

/** Waits for all, also when one fails: nothing may be under way when the next run begins. */
async function all(work: readonly Promise<void>[]): Promise<void> {
  for (const outcome of await Promise.allSettled(work)) {
    if (outcome.status === 'rejected') throw outcome.reason
  }
}
