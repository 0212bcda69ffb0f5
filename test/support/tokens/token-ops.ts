import fc from 'fast-check'

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
