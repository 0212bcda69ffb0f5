import { describe, expect, it, onTestFinished } from 'vitest'
import { generateToken, type TokenData, type TokenKey } from '../../../src/domain/token.ts'
import { TokenRevocationService } from '../../../src/services/tokens/token-revocation-service.ts'
import { WriteLimit } from '../../../src/services/tokens/write-limit.ts'
import { TokenDatabase } from '../../../src/stores/database/token-database.ts'
import { failure } from '../../support/checks/failures.ts'
import { SHORT_LIVED } from '../../support/porthor/parent-token.ts'
import { openPorthor } from '../../support/porthor/porthor.ts'
import { usePorthor } from '../../support/porthor/use-porthor.ts'
import { waitForLocks } from '../../support/stores/locks.ts'
import { startRedis } from '../../support/stores/stores.ts'
import {
  aUsername,
  bearerOf,
  dataOf,
  historyOf,
  IP,
  keyOf,
  keysOf,
  makeAdmin,
  makeRoot,
  makeTree,
  refusalOf,
  refuseCommits,
  rowsOf,
  statementsOf,
  storedOf,
} from '../../support/tokens/trees.ts'

const OPERATOR = { actor: { kind: 'operator' }, ipAddress: null } as const
const VIEWER = '{ viewer { token { key } } }'

describe.each(['redis', 'postgres'] as const)('revoking, with the token store in %s,', (store) => {
  const t = usePorthor(store)
  const service = () => t.h.context.services.revocation
  const revoke = (key: TokenKey) => service().revoke(OPERATOR, key)

  it('whose commit failed leaves nothing valid, and can be repeated', async () => {
    const tree = await makeTree(t.h)
    const tokens = Object.values(tree)
    const { allow } = await refuseCommits(t.h, 'DELETE', tree.root.username)
    onTestFinished(allow)
    await expect(revoke(keyOf(tree.root))).rejects.toThrow(failure('UNAVAILABLE'))

    expect(await storedOf(t.h, store, tokens)).toEqual([])
    expect(Object.keys(await rowsOf(t.h, tokens))).toHaveLength(4)
    for (const token of tokens) {
      expect(await refusalOf(t.h, VIEWER, { token: bearerOf(token) })).toEqual(['UNAUTHENTICATED', 401])
    }
    expect(await historyOf(t.h, tokens, 'revoke')).toEqual([])

    await allow()
    expect(await revoke(keyOf(tree.root))).toHaveLength(4)
    expect(await rowsOf(t.h, tokens)).toEqual({})
    expect(await historyOf(t.h, tokens, 'revoke')).toHaveLength(4)
  })

  it('of many whose commit failed can be repeated', async () => {
    const tree = await makeTree(t.h)
    const { username } = tree.root
    const { allow } = await refuseCommits(t.h, 'DELETE', username)
    onTestFinished(allow)
    await expect(service().revokeMatching(OPERATOR, { username })).rejects.toThrow(failure('UNAVAILABLE'))

    expect(await storedOf(t.h, store, Object.values(tree))).toEqual([])
    await allow()
    expect(await service().revokeMatching(OPERATOR, { username })).toMatchObject({ count: 4 })
    expect(await rowsOf(t.h, Object.values(tree))).toEqual({})
  })

  it('revokes a record without a row, for admins and for its user, with a history event', async () => {
    const [mine, one, two] = await Promise.all([1, 2, 3].map(() => makeRoot(t.h)))
    const admin = await makeAdmin(t.h)
    if (!mine || !one || !two) throw new Error('three tokens were made')
    const strays = [await makeRoot(t.h, { username: mine.username }), one]
    await t.h.sql('DELETE FROM token WHERE token = ANY ($1)', [keysOf(strays)])
    const callers = [mine, admin].map((data) => ({ actor: { kind: 'token' as const, data }, ipAddress: IP }))

    for (const [index, stray] of strays.entries()) {
      const caller = callers[index]
      if (!caller) throw new Error('each has its caller')
      expect(await service().revoke(caller, keyOf(stray))).toEqual([keyOf(stray)])
      expect(await storedOf(t.h, store, [stray])).toEqual([])
      expect(await historyOf(t.h, [stray], 'revoke')).toMatchObject([
        {
          username: stray.username,
          token_type: 'user',
          scopes: stray.scopes.join(','),
          parent: null,
          actor: caller.actor.data.username,
          ip_address: IP,
        },
      ])
    }
    await t.h.sql('DELETE FROM token WHERE token = $1', [keyOf(two)])
    await expect(service().revoke(callers[0] ?? OPERATOR, keyOf(two))).rejects.toThrow(failure('NOT_FOUND'))
    expect(await storedOf(t.h, store, [two])).toEqual([two])
  })

  it('of a key that neither store has is NOT_FOUND', async () => {
    const { key } = generateToken()
    await expect(revoke(key)).rejects.toThrow(failure('NOT_FOUND'))
    expect(await t.h.sql('SELECT FROM token_change_history WHERE token = $1', [key])).toEqual([])
  })

  it('takes as many transactions as it needs: 10,001 tokens in one call, each written down once', async () => {
    const username = aUsername()
    await t.h.sql(
      `INSERT INTO token (token, username, token_type, scopes, created)
       SELECT substr(md5($1 || n), 1, 22), $1, 'session', 'read:all', '2026-01-01' FROM generate_series(1, 10001) AS n`,
      [username],
    )
    const { count, keys } = await service().revokeMatching(OPERATOR, { username })

    expect([count, new Set(keys).size]).toEqual([10_001, 10_001])
    const [left] = await t.h.sql(
      `SELECT (SELECT count(*)::int FROM token WHERE username = $1) AS rows,
              (SELECT count(DISTINCT token)::int FROM token_change_history WHERE username = $1) AS tokens,
              (SELECT count(*)::int FROM token_change_history WHERE username = $1) AS changes`,
      [username],
    )
    expect(left).toEqual({ rows: 0, tokens: 10_001, changes: 10_001 })
  })

  it('goes in steps of a thousand in both stores, so that no step of a large tree takes too long', async () => {
    const costOf = async (children: number) => {
      const root = await makeRoot(t.h)
      await t.h.sql(
        `WITH child AS (
           INSERT INTO token (token, username, token_type, scopes, created)
           SELECT substr(md5($1 || n), 1, 22), $2, 'notebook', '', '2026-01-01' FROM generate_series(1, $3) AS n
           RETURNING token)
         INSERT INTO subtoken SELECT token, $1 FROM child`,
        [keyOf(root), root.username, children],
      )
      const statements = await statementsOf(() => revoke(keyOf(root)))
      return statements.filter((text) => !text.includes('porthor_token_store')).length
    }
    expect((await costOf(2_500)) - (await costOf(500))).toBe(4)
  })

  it('logs each key, and no secret', async () => {
    const { root, child } = await makeTree(t.h)
    const first = t.h.logLines.length
    await revoke(keyOf(root))
    const lines = t.h.logLines.slice(first).filter(({ msg }) => msg === 'revoked token')

    expect(lines.map(({ tokenKey, actor }) => [tokenKey, actor])).toHaveLength(4)
    expect(lines).toContainEqual(expect.objectContaining({ tokenKey: keyOf(child), actor: '<internal>' }))
    expect(JSON.stringify(lines)).not.toContain(root.token.secret)
  })
})

describe('revoking while others are at it', () => {
  const t = usePorthor('redis', SHORT_LIVED)
  const revoke = (key: TokenKey) => t.h.context.services.revocation.revoke(OPERATOR, key)

  it('waits for a child that is being issued, and revokes it too', async () => {
    const { root, child } = await makeTree(t.h)
    const making = await t.connect()
    const late = generateToken().key
    await making.query('BEGIN')
    await making.query('SELECT FROM token WHERE token = $1 FOR KEY SHARE', [keyOf(child)])
    const revoked = revoke(keyOf(root))
    await t.waiting(1)
    await making.query(
      `INSERT INTO token (token, username, token_type, scopes, service, created)
       VALUES ($1, $2, 'internal', '', 'late', '2026-01-01')`,
      [late, root.username],
    )
    await making.query('INSERT INTO subtoken VALUES ($1, $2)', [late, keyOf(child)])
    await making.query('COMMIT')

    expect(await revoked).toContain(late)
    expect(await t.h.sql('SELECT FROM token WHERE username = $1', [root.username])).toEqual([])
  })

  it('of the same tree twice at once ends it once', async () => {
    const { root } = await makeTree(t.h)
    const outcomes = await Promise.allSettled([revoke(keyOf(root)), revoke(keyOf(root))])

    // Who comes while it is decided and not done hears what was revoked; who comes later, that there is no such token.
    const keys = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []))
    expect(keys[0]).toHaveLength(4)
    for (const each of keys) expect(each).toEqual(keys[0])
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') expect(outcome.reason).toEqual(failure('NOT_FOUND'))
    }
    expect(await historyOf(t.h, [root], 'revoke')).toHaveLength(1)
  })

  it('holds up nobody who uses another token', async () => {
    const { root } = await makeTree(t.h)
    const other = await makeRoot(t.h)
    const holding = await t.connect()
    await holding.query('BEGIN')
    await holding.query('SELECT FROM token WHERE token = $1 FOR UPDATE', [keyOf(root)])
    const revoked = revoke(keyOf(root))
    await waitForLocks(t.h, 1)

    await dataOf(t.h, 'mutation { internalToken(service: "tap") { token } }', { token: bearerOf(other) })
    await dataOf(t.h, `mutation { revokeToken(key: "${keyOf(other)}") { keys } }`)
    await holding.query('COMMIT')
    expect(await revoked).toHaveLength(4)
  })
})

describe('revoking, when the time of an answer is over,', () => {
  const t = usePorthor('redis', SHORT_LIVED)

  /** Another process, in which each completion of a revocation goes through `around`, by a clock of its own. */
  const serviceOver = (
    around: (complete: () => Promise<readonly TokenKey[]>, pass: () => void) => Promise<readonly TokenKey[]>,
    isOverOnceDecided = false,
  ) => {
    const { prisma, services, clock, log } = t.h.context
    let elapsedMs = 0
    const pass = () => {
      elapsedMs += 9_000
    }
    const database = new TokenDatabase(prisma)
    const changeTrees: TokenDatabase['changeTrees'] = async (work) => {
      const decided = await database.changeTrees(work)
      if (isOverOnceDecided) pass()
      return decided
    }
    return new TokenRevocationService({
      tokens: t.tokens,
      database: { changeTrees },
      pendingChanges: {
        completeRevocations: (keys) => around(() => services.pendingChanges.completeRevocations(keys), pass),
      },
      writeLimit: new WriteLimit(),
      clock: { now: () => clock.now(), nowToSecond: () => clock.nowToSecond(), monotonicMs: () => elapsedMs },
      log,
    })
  }
  const caller = { actor: { kind: 'bootstrap' }, ipAddress: null } as const

  it('while tokens that match are created as fast as they are revoked, is UNAVAILABLE, and says how many were', async () => {
    const { root } = await makeTree(t.h)
    const late: TokenData[] = []
    const service = serviceOver(async (complete, pass) => {
      const keys = await complete()
      late.push(await makeRoot(t.h, { username: root.username }))
      if (late.length === 3) pass()
      return keys
    })
    await expect(service.revokeMatching(caller, { username: root.username })).rejects.toThrow(
      failure('UNAVAILABLE', {
        message: expect.stringMatching(/^6 tokens are revoked, and more may match/),
      }),
    )
    expect(Object.keys(await rowsOf(t.h, [root, ...late]))).toEqual(keysOf(late.slice(-1)))
  })

  it('while a tree is not done, is UNAVAILABLE, says that it is recorded, and goes on', async () => {
    const { root } = await makeTree(t.h)
    let goOn: () => void = () => undefined
    const isToGoOn = new Promise<void>((resolve) => {
      goOn = resolve
    })
    let completed: Promise<readonly TokenKey[]> | undefined
    const service = serviceOver((complete) => {
      completed = isToGoOn.then(complete)
      return completed
    }, true)
    await expect(service.revoke(caller, keyOf(root))).rejects.toThrow(
      failure('UNAVAILABLE', { message: expect.stringContaining('is recorded and will be completed') }),
    )
    goOn()
    expect(await completed).toHaveLength(4)
  })
})

it('revoking while Redis is gone is UNAVAILABLE, ends nothing in the database, and can be repeated', async () => {
  const redis = await startRedis()
  const h = await openPorthor({ store: 'redis', env: { REDIS_URL: redis.url } })
  try {
    const { root } = await makeTree(h)
    await redis.kill()
    const query = `mutation { revokeToken(key: "${keyOf(root)}") { keys } }`
    expect(await refusalOf(h, query)).toEqual(['UNAVAILABLE', 503])
    expect(await h.sql('SELECT FROM token')).toHaveLength(4)
    expect(await h.sql(`SELECT FROM token_change_history WHERE action = 'revoke'`)).toEqual([])

    const again = await startRedis({ port: redis.port })
    onTestFinished(() => again.stop())
    await expect
      .poll(() => h.context.checkStores(), { timeout: 20_000 })
      .toEqual({ tokens: true, issuing: true })
    expect(await dataOf(h, query)).toMatchObject({
      revokeToken: { keys: expect.arrayContaining([keyOf(root)]) },
    })
    expect(await h.sql('SELECT FROM token')).toEqual([])
  } finally {
    await h.close()
  }
})
