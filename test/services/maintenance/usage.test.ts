import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { openApp } from '../../../src/app.ts'
import { loadConfig } from '../../../src/config/config.ts'
import type { TokenData } from '../../../src/domain/token.ts'
import { usePorthor } from '../../support/porthor/use-porthor.ts'
import { openTcpProxy } from '../../support/stores/tcp-proxy.ts'
import {
  bearerOf,
  connect,
  dataOf,
  keyOf,
  lend,
  makeRoot,
  makeTree,
  statementsOf,
} from '../../support/tokens/trees.ts'

const VIEWER = '{ viewer { user { username } } }'

describe('lastUsedAt', () => {
  const t = usePorthor('redis')

  const use = (token: TokenData) => dataOf(t.h, VIEWER, { token: bearerOf(token) })
  const flush = () => t.h.context.services.usage.flush()
  const lastUsed = async (token: TokenData) => {
    const query = `{ token(key: "${keyOf(token)}") { lastUsedAt } }`
    const { token: found } = await dataOf<{ token: { lastUsedAt: string | null } }>(t.h, query)
    return found.lastUsedAt && (Date.parse(found.lastUsedAt) - token.createdAt.getTime()) / 1000
  }

  it('is the time at which a token last authenticated a request, in whole seconds, once it is written, and null before', async () => {
    const { root, child, notebook } = await makeTree(t.h)
    t.h.clock.advance(7.8)
    await use(root)
    await use(child)
    expect(await lastUsed(root)).toBeNull()
    await flush()

    expect([await lastUsed(root), await lastUsed(child), await lastUsed(notebook)]).toEqual([7, 7, null])
    t.h.clock.advance(-0.8)
  })

  it('changes for a parent that delegates, and not for the child that is issued', async () => {
    const root = await makeRoot(t.h)
    await dataOf(t.h, 'mutation { internalToken(service: "tap") { token } }', { token: bearerOf(root) })
    const child = await lend(t.h, root, 'tap', [])
    await flush()
    expect([await lastUsed(root), await lastUsed(child)]).toEqual([0, null])
  })

  it('is written at most once a minute for each token', async () => {
    const [one, two] = [await makeRoot(t.h), await makeRoot(t.h)]
    await use(one)
    await flush()
    t.h.clock.advance(59)
    await use(one)
    expect(await statementsOf(flush)).toEqual([])
    await use(two)
    await flush()
    expect([await lastUsed(one), await lastUsed(two)]).toEqual([0, 59])
    t.h.clock.advance(1)
    await use(one)
    await use(two)
    await flush()
    expect([await lastUsed(one), await lastUsed(two)]).toEqual([60, 59])
  })

  it('is written at most once a minute over all processes', async () => {
    const { clock, log } = t.h.context
    const other = openApp(loadConfig(t.h.env), { clock, log })
    onTestFinished(other.close)
    const root = await makeRoot(t.h)
    const useThere = async () => {
      await other.services.authenticator.authenticate(bearerOf(root))
      await other.services.usage.flush()
    }
    await use(root)
    await flush()
    t.h.clock.advance(59)
    await useThere()
    expect(await lastUsed(root)).toBe(0)
    t.h.clock.advance(60)
    await useThere()
    expect(await lastUsed(root)).toBe(119)
  })

  it('delays no request: one whose token is locked by another transaction gets its response', async () => {
    const [root, other] = [await makeRoot(t.h), await makeRoot(t.h)]
    const holding = await connect(t.h)
    await holding.query('BEGIN')
    await holding.query('SELECT FROM token WHERE token = $1 FOR UPDATE', [keyOf(root)])

    expect(await statementsOf(() => use(root))).toEqual([])
    await use(other)
    await flush()
    expect([await lastUsed(root), await lastUsed(other)]).toEqual([null, 0])
    await holding.query('COMMIT')
    t.h.clock.advance(60)
    await use(root)
    await flush()
    expect(await lastUsed(root)).toBe(60)
  })

  it('is written for many tokens in few statements', async () => {
    const root = await makeRoot(t.h)
    const { usage } = t.h.context.services
    for (let index = 0; index < 2_500; index += 1) usage.note(`unknown-${index}` as typeof root.token.key)
    usage.note(keyOf(root))

    expect(await statementsOf(flush)).toHaveLength(3)
    expect(await lastUsed(root)).toBe(0)
    expect(await statementsOf(flush)).toEqual([])
  })

  it('is written for the last used tokens when the process ends', async () => {
    const root = await makeRoot(t.h)
    await use(root)
    await t.h.restart()
    expect(await lastUsed(root)).toBe(0)
  })

  it('that cannot be written is logged as a warning, and written after the next use', async () => {
    const proxy = await openTcpProxy(t.h.env.DATABASE_URL ?? '')
    onTestFinished(() => proxy.close())
    const { clock, log } = t.h.context
    const env = { ...t.h.env, DATABASE_URL: proxy.through(t.h.env.DATABASE_URL ?? '') }
    const cut = openApp(loadConfig(env), { clock, log })
    onTestFinished(cut.close)
    const [root, other] = [await makeRoot(t.h), await makeRoot(t.h)]
    // A Redis is used once PostgreSQL has told what was changed in it lately.
    await vi.waitFor(() => cut.services.authenticator.authenticate(bearerOf(other)), { timeout: 20_000 })
    await proxy.refuse()
    await cut.services.authenticator.authenticate(bearerOf(root))
    await cut.services.usage.flush()
    expect(t.h.logLines.map(({ msg }) => msg)).toContain('could not record when tokens were last used')

    await proxy.pass()
    t.h.clock.advance(5)
    await cut.services.authenticator.authenticate(bearerOf(root))
    await cut.services.usage.flush()
    expect(await lastUsed(root)).toBe(5)
  })
})
