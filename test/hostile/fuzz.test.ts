import fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import { parseToken } from '../../src/domain/token.ts'
import { schema } from '../../src/schema/index.ts'
import { fieldOf } from '../support/requests/graphql.ts'
import { generators, type HostileRequest, type Kind } from './fuzz/requests.ts'
import { faultsOf, holdsBearer, isWhole } from './fuzz/verdict.ts'
import { exchange, type Reply } from './fuzz/wire.ts'
import { useTarget } from './target.ts'

const { FUZZ_REQUESTS = '3000', FUZZ_SEED = '1', FUZZ_STORE = 'redis' } = process.env
const requests = Number(FUZZ_REQUESTS)
const seed = Number(FUZZ_SEED)

vi.setConfig({ testTimeout: 60_000 + requests * 100, hookTimeout: 180_000 })

/** Of a hundred requests. */
const SHARES: Readonly<Record<Kind, number>> = { document: 50, body: 15, head: 20, wire: 15 }

const SESSION = `mutation ($username: String!, $scopes: [String!]!) {
  createSessionToken(input: { username: $username, scopes: $scopes }) { token } }`

/** So small that what holds on to the requests of others ends the server. */
const SMALL_HEAP = '--max-old-space-size=256'

describe(`a server with its tokens in ${FUZZ_STORE}, sent ${requests} random requests from seed ${seed},`, () => {
  const t = useTarget({
    NODE_OPTIONS: SMALL_HEAP,
    LOG_LEVEL: 'debug',
    // Else most of what follows the first wrong tokens would be refused unread.
    AUTH_FAILURES_PER_MINUTE: '1000000',
    ...(FUZZ_STORE === 'postgres' && { REDIS_URL: '', TOKEN_STORE: 'postgres' }),
  })

  const session = async (username: string, scopes: readonly string[]) => {
    const made = await t.server.ask(SESSION, { token: t.bootstrapToken, variables: { username, scopes } })
    return fieldOf<{ token: string }>(made, 'createSessionToken').token
  }

  const openTokens = async () => {
    const user = await session('wren', ['user:token', 'read:all', 'exec:notebook'])
    const admin = await session('ada', ['admin:token', 'user:token', 'read:all'])
    return new Map<string, string>([
      ['%%USER_TOKEN%%', user],
      ['%%ADMIN_TOKEN%%', admin],
      ['%%BOOTSTRAP_TOKEN%%', t.bootstrapToken],
      ['%%USER_KEY%%', parseToken(user).key],
      ['%%ADMIN_KEY%%', parseToken(admin).key],
    ])
  }

  it('responds to each with no 5xx status except 503, and states in every refusal what would be right', async () => {
    const { port } = new URL(t.origin)
    let tokens = await openTokens()

    const sendOne = async (request: HostileRequest): Promise<void> => {
      const bytes = fill(request.text, tokens)
      const hasNoBody = request.method === 'HEAD'
      const isComplete = isWhole(bytes.toString('latin1'))
      const reply = await exchange(Number(port), bytes, { isEnded: !isComplete, hasNoBody })
      const silence = isComplete ? ['closed without a response'] : []
      const faults = reply ? faultsOf(reply, hasNoBody) : silence
      // A mutation before it may have revoked them.
      if (reply?.status === 401) tokens = await openTokens()
      if (faults.length > 0) throw new Error(describeFault(faults, request, reply))
    }
    const check = (kind: Kind) =>
      fc.assert(
        fc.asyncProperty(fc.gen(), async (g) => sendOne(generators[kind](g, schema))),
        {
          seed,
          numRuns: Math.ceil((requests * SHARES[kind]) / 100),
          interruptAfterTimeLimit: 60_000 + requests * 80,
          markInterruptAsFailure: false,
          includeErrorInReport: true,
        },
      )

    const kinds = Object.keys(SHARES) as Kind[]
    const results = await Promise.allSettled(kinds.map(check))
    const failures = results.flatMap((result, index) =>
      result.status === 'rejected' ? [`${kinds[index]}: ${(result.reason as Error).message}`] : [],
    )
    expect(failures.join('\n\n')).toBe('')

    expect((await t.server.ask('{ __typename }')).status).toBe(200)
    const lines = t.server.logLines
    expect(lines.filter(({ level }) => level >= 50)).toEqual([])
    expect(lines.map((line) => JSON.stringify(line)).filter(holdsBearer)).toEqual([])
    expect(await t.server.stop()).toBe(0)
  })
})

/** With what stands in for tokens and for the length of the body replaced. */
function fill(text: string, tokens: ReadonlyMap<string, string>): Buffer {
  let filled = text
  for (const [placeholder, value] of tokens) filled = filled.replaceAll(placeholder, value)
  const body = filled.slice(filled.indexOf('\r\n\r\n') + 4)
  return Buffer.from(filled.replace('%%LENGTH%%', String(body.length)), 'latin1')
}

function describeFault(
  faults: readonly string[],
  { text }: HostileRequest,
  reply: Reply | undefined,
): string {
  const shown = (long: string) => JSON.stringify(long.length > 2_000 ? `${long.slice(0, 2_000)}…` : long)
  return `${faults.join('; ')}\nrequest: ${shown(text)}\nresponse: ${reply ? `${reply.status} ${shown(reply.body)}` : 'none'}`
}
