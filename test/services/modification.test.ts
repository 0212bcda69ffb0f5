import { describe, expect, it, onTestFinished } from 'vitest'
import { UnavailableError } from '../../src/domain/errors.ts'
import type { TokenKey } from '../../src/domain/token.ts'
import type { AuditedFinding } from '../../src/services/audit-service.ts'
import { TokenModificationService } from '../../src/services/token-modification-service.ts'
import { TokenDatabase } from '../../src/stores/token-database.ts'
import type { TokenStore } from '../../src/stores/token-store.ts'
import { useApi } from '../support/api.ts'
import { failure } from '../support/failures.ts'
import { useHeart, waitForLocks } from '../support/heart.ts'
import {
  aUsername,
  connect,
  documentOf,
  dropEntry,
  historyOf,
  IP,
  keyOf,
  lend,
  makeRoot,
  makeTree,
  refuseCommits,
  rowsOf,
  statementsOf,
  storedOf,
} from '../support/trees.ts'

const OPERATOR = { actor: { kind: 'operator' }, ipAddress: IP } as const

describe.each(['redis', 'postgres'] as const)('modifying, with the token store in %s,', (store) => {
  const t = useApi(store)
  const service = () => t.h.context.services.modification
  const inSeconds = (seconds: number) => new Date(t.h.clock.now().getTime() + seconds * 1000)
  const documentsOf = (tokens: Parameters<typeof rowsOf>[1]) =>
    Promise.all(tokens.map((token) => documentOf(t.h, store, token)))

  it('W49: of a token without a store entry is NOT_FOUND, and changes nothing', async () => {
    const { root, child, grandchild } = await makeTree(t.h, { endsIn: 86_400 })
    await dropEntry(t.h, store, root)
    const tokens = [root, child, grandchild]
    const before = [await rowsOf(t.h, tokens), await documentsOf(tokens), await historyOf(t.h, tokens)]
    for (const modification of [
      { tokenName: 'desk' },
      { scopes: [] },
      { expiresAt: inSeconds(172_800) },
      { expiresAt: null },
    ]) {
      await expect(service().modify(OPERATOR, keyOf(root), modification)).rejects.toThrow(
        failure('NOT_FOUND'),
      )
    }
    expect([await rowsOf(t.h, tokens), await documentsOf(tokens), await historyOf(t.h, tokens)]).toEqual(
      before,
    )
  })

  it('W49: of a token that has expired, and is not yet swept, is NOT_FOUND: it is not brought back', async () => {
    const root = await makeRoot(t.h, { endsIn: 300, tokenName: 'laptop' })
    t.h.clock.advance(300)
    for (const modification of [{ expiresAt: null }, { tokenName: 'laptop' }]) {
      await expect(service().modify(OPERATOR, keyOf(root), modification)).rejects.toThrow(
        failure('NOT_FOUND'),
      )
    }
    expect(await historyOf(t.h, [root], 'edit')).toEqual([])
    expect(Object.keys(await rowsOf(t.h, [root]))).toEqual([keyOf(root)])
  })

  it('a descendant without a store entry is edited in the database alone', async () => {
    const { root, child, grandchild } = await makeTree(t.h)
    await dropEntry(t.h, store, child)
    await service().modify(OPERATOR, keyOf(root), { scopes: [] })

    const rows = await rowsOf(t.h, [child, grandchild])
    expect([rows[keyOf(child)]?.scopes, rows[keyOf(grandchild)]?.scopes]).toEqual(['', ''])
    expect(await storedOf(t.h, store, [child, grandchild])).toEqual([grandchild])
  })

  it('W50: after a failed commit is undone in the store, for every token of the tree, and can be repeated', async () => {
    const tree = await makeTree(t.h, { endsIn: 86_400 })
    const tokens = Object.values(tree)
    const before = [await rowsOf(t.h, tokens), await documentsOf(tokens), await historyOf(t.h, tokens)]
    const { allow } = await refuseCommits(t.h, 'UPDATE', tree.root.username)
    onTestFinished(allow)
    const modification = { tokenName: 'desk', scopes: ['read:tap'], expiresAt: inSeconds(3_600) }
    await expect(service().modify(OPERATOR, keyOf(tree.root), modification)).rejects.toThrow(
      failure('UNAVAILABLE'),
    )
    expect([await rowsOf(t.h, tokens), await documentsOf(tokens), await historyOf(t.h, tokens)]).toEqual(
      before,
    )

    await allow()
    await service().modify(OPERATOR, keyOf(tree.root), modification)
    expect(JSON.parse((await documentOf(t.h, store, tree.child)) ?? '')).toMatchObject({
      scopes: ['read:tap'],
      expires: inSeconds(3_600).getTime() / 1000,
    })
    expect(await historyOf(t.h, tokens, 'edit')).toHaveLength(4)
  })

  it('W50: takes from the token store before the commit, and gives to it only afterwards', async () => {
    const { root, child } = await makeTree(t.h, { endsIn: 86_400 })
    const holding = await connect(t.h)
    await holding.query('SELECT pg_advisory_lock(50)')
    onTestFinished(async () => void (await t.h.sql('DROP FUNCTION stop CASCADE')))
    await t.h.sql(
      `CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS $$
       BEGIN PERFORM pg_advisory_xact_lock_shared(50); RETURN NULL; END $$;
       CREATE CONSTRAINT TRIGGER stop AFTER UPDATE ON token DEFERRABLE INITIALLY DEFERRED
       FOR EACH ROW EXECUTE FUNCTION stop()`,
    )
    const wanted = { scopes: ['admin:token', 'read:tap'], expiresAt: inSeconds(172_800) }
    const modified = service().modify(OPERATOR, keyOf(root), wanted)
    await waitForLocks(t.h, 1)
    const expires = (root.expiresAt?.getTime() ?? 0) / 1000
    const read = async () => (await documentsOf([root, child])).map((text) => JSON.parse(text ?? ''))
    expect(await read()).toMatchObject([
      { scopes: ['read:tap'], expires },
      { scopes: ['read:tap'], expires },
    ])

    await holding.query('SELECT pg_advisory_unlock(50)')
    await modified
    expect(await read()).toMatchObject([
      { scopes: wanted.scopes, expires: wanted.expiresAt.getTime() / 1000 },
      { scopes: ['read:tap'], expires },
    ])
  })

  it('what is in its last second has ended: nothing is given to it, and it is in the way of nothing', async () => {
    const { root, child, notebook, grandchild } = await makeTree(t.h, { endsIn: 301 })
    const ending = await makeRoot(t.h, { endsIn: 301 })
    await service().modify(OPERATOR, keyOf(root), { expiresAt: null })
    t.h.clock.advance(300.5)
    await expect(service().modify(OPERATOR, keyOf(ending), { expiresAt: null })).rejects.toThrow(
      failure('NOT_FOUND'),
    )
    await service().modify(OPERATOR, keyOf(root), { scopes: [] })
    t.h.clock.advance(0.5)
    expect(await storedOf(t.h, store, [root, child, notebook, grandchild])).toEqual([root])
    expect(await historyOf(t.h, [root, child, notebook, grandchild], 'edit')).toHaveLength(5)
  })

  describe('W44', () => {
    it('when two want the same name at once, one gets it, and the other DUPLICATE_TOKEN_NAME', async () => {
      const username = aUsername()
      for (let round = 0; round < 5; round += 1) {
        const [one, two] = [await makeRoot(t.h, { username }), await makeRoot(t.h, { username })]
        const wanted = { tokenName: `name ${round}` }
        const create = () =>
          t.h.context.services.tokens.createUser(OPERATOR, {
            username,
            scopes: [],
            expiresAt: null,
            ...wanted,
          })
        const outcomes = await Promise.allSettled([
          service().modify(OPERATOR, keyOf(one), wanted),
          service().modify(OPERATOR, keyOf(two), wanted),
          create(),
        ])

        expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
        for (const outcome of outcomes) {
          if (outcome.status === 'rejected') expect(outcome.reason).toEqual(failure('DUPLICATE_TOKEN_NAME'))
        }
        expect(
          await t.h.sql('SELECT FROM token WHERE username = $1 AND token_name = $2', [
            username,
            wanted.tokenName,
          ]),
        ).toHaveLength(1)
      }
    })

    it('a name that only an expired token has can be taken, and its end is written down', async () => {
      const old = await makeRoot(t.h, { tokenName: 'laptop', endsIn: 300 })
      t.h.clock.advance(301)
      const { username } = old
      const next = await makeRoot(t.h, { username, tokenName: 'desk' })
      await service().modify(OPERATOR, keyOf(next), { tokenName: 'laptop' })

      expect(Object.keys(await rowsOf(t.h, [old, next]))).toEqual([keyOf(next)])
      expect(await historyOf(t.h, [old], 'expire')).toMatchObject([{ actor: '<internal>', ip_address: null }])
    })

    it('a name that a refused edit wanted leaves the expired token alone', async () => {
      const old = await makeRoot(t.h, { tokenName: 'laptop', endsIn: 300 })
      t.h.clock.advance(301)
      const next = await makeRoot(t.h, { username: old.username, tokenName: 'desk' })
      await dropEntry(t.h, store, next)
      await expect(service().modify(OPERATOR, keyOf(next), { tokenName: 'laptop' })).rejects.toThrow(
        failure('NOT_FOUND'),
      )
      expect(await historyOf(t.h, [old], 'expire')).toEqual([])
    })
  })
})

describe('modifying while others are at it', () => {
  const t = useHeart('redis')
  const inSeconds = (seconds: number) => new Date(t.clock.now().getTime() + seconds * 1000)

  /** Another process, whose token store goes through `wrap`; `between` its first transaction and the second one. */
  const serviceOver = (
    wrap: (tokens: TokenStore) => Partial<TokenStore>,
    between = async (): Promise<unknown> => undefined,
  ): TokenModificationService => {
    const { config, prisma, clock, log } = t.h.context
    const changed = wrap(t.tokens)
    const tokens: TokenStore = {
      get: (...args) => t.tokens.get(...args),
      put: (data) => t.tokens.put(data),
      getEntry: (key) => t.tokens.getEntry(key),
      replace: changed.replace ?? ((entry, data) => t.tokens.replace(entry, data)),
      delete: (keys) => t.tokens.delete(keys),
      scan: () => t.tokens.scan(),
      inspect: (keys) => t.tokens.inspect(keys),
      sweep: () => t.tokens.sweep(),
      ping: () => t.tokens.ping(),
    }
    const database = new TokenDatabase(prisma)
    const changeTrees = database.changeTrees.bind(database)
    let transactions = 0
    database.changeTrees = async (work) => {
      transactions += 1
      if (transactions === 2) await between()
      return changeTrees(work)
    }
    return new TokenModificationService({
      tokens,
      database,
      clock,
      log,
      knownScopes: config.knownScopes,
      mayDelegatedTokensCreate: false,
    })
  }

  it('W18: waits for a child that is being made, and caps it too', async () => {
    const root = await makeRoot(t.h, { endsIn: 86_400 })
    const making = await t.connect()
    await making.query('BEGIN')
    await making.query('SELECT FROM token WHERE token = $1 FOR KEY SHARE', [keyOf(root)])
    const modified = t.h.context.services.modification.modify(OPERATOR, keyOf(root), {
      expiresAt: inSeconds(3_600),
    })
    await t.waiting(1)
    await making.query(
      `INSERT INTO token (token, username, token_type, scopes, service, created, expires)
       VALUES ('late-${keyOf(root)}', $1, 'internal', '', 'late', $2, $3)`,
      [root.username, root.createdAt.toISOString(), root.expiresAt?.toISOString()],
    )
    await making.query(`INSERT INTO subtoken VALUES ('late-${keyOf(root)}', $1)`, [keyOf(root)])
    await making.query('COMMIT')
    await modified

    expect(
      await t.h.sql('SELECT expires = $2::timestamp AS capped FROM token WHERE token = $1', [
        `late-${keyOf(root)}`,
        inSeconds(3_600).toISOString(),
      ]),
    ).toEqual([{ capped: true }])
  })

  it('W18: a request that was under way with the old scopes and end gets no child with more than is left', async () => {
    const root = await makeRoot(t.h, { endsIn: 86_400 })
    await t.h.context.services.modification.modify(OPERATOR, keyOf(root), {
      scopes: ['read:tap'],
      expiresAt: inSeconds(3_600),
    })
    // `root` is what the request was authenticated with, before the edit.
    await expect(lend(t.h, root, 'tap', ['read:all'])).rejects.toThrow(failure('INVALID_SCOPES'))
    const child = await lend(t.h, root, 'tap', ['read:tap'])
    expect(child.expiresAt).toEqual(inSeconds(3_600))
  })

  it('a failed edit does not bring back what was revoked before it could be undone', async () => {
    const { root, child, notebook, grandchild } = await makeTree(t.h, { endsIn: 86_400 })
    let isFirst = true
    const failing = serviceOver((tokens) => ({
      replace: async (entry, data) => {
        if (data.token.key !== keyOf(child)) return tokens.replace(entry, data)
        // The transaction loses its connection, and with it its locks; somebody else revokes the tree.
        if (isFirst) {
          isFirst = false
          await t.h.sql(
            `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND state = 'idle in transaction'`,
          )
          await t.h.context.services.revocation.revoke(OPERATOR, keyOf(root))
        }
        return tokens.replace(entry, data)
      },
    }))
    await expect(failing.modify(OPERATOR, keyOf(root), { scopes: ['read:tap'] })).rejects.toThrow(
      failure('UNAVAILABLE'),
    )
    expect(await storedOf(t.h, 'redis', [root, child, notebook, grandchild])).toEqual([])
    expect(await rowsOf(t.h, [root, child, notebook, grandchild])).toEqual({})
  })

  it('a failed edit does not undo what another edit has made of the token meanwhile', async () => {
    const root = await makeRoot(t.h, { endsIn: 86_400 })
    const child = await lend(t.h, root, 'tap', ['read:all', 'read:tap'])
    let isFirst = true
    const failing = serviceOver((tokens) => ({
      replace: async (entry, data) => {
        if (data.token.key !== keyOf(child) || !isFirst) return tokens.replace(entry, data)
        isFirst = false
        await t.h.sql(
          `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
           WHERE datname = current_database() AND state = 'idle in transaction'`,
        )
        await t.h.context.services.modification.modify(OPERATOR, keyOf(root), { scopes: [] })
      },
    }))
    await expect(failing.modify(OPERATOR, keyOf(root), { scopes: ['read:tap'] })).rejects.toThrow(
      failure('UNAVAILABLE'),
    )
    for (const token of [root, child]) {
      expect(JSON.parse((await documentOf(t.h, 'redis', token)) ?? '')).toMatchObject({ scopes: [] })
    }
  })

  it('what an edit adds, and the token store does not take, is UNAVAILABLE, and given when it is repeated', async () => {
    const root = await makeRoot(t.h, { scopes: ['read:tap'], endsIn: 86_400 })
    const wanted = { scopes: ['read:all', 'read:tap'], expiresAt: null }
    let isFirst = true
    const failing = serviceOver((tokens) => ({
      replace: async (entry, data) => {
        if (!isFirst) return tokens.replace(entry, data)
        isFirst = false
        throw new UnavailableError('redis', new Error('gone'))
      },
    }))
    await expect(failing.modify(OPERATOR, keyOf(root), wanted)).rejects.toThrow(failure('UNAVAILABLE'))
    expect(await t.tokens.get(keyOf(root))).toEqual(root)

    await t.h.context.services.modification.modify(OPERATOR, keyOf(root), wanted)
    expect(await t.tokens.get(keyOf(root))).toEqual({ ...root, ...wanted })
  })

  it.each<[string, (key: TokenKey) => Promise<unknown>, readonly string[] | undefined]>([
    ['revoked', (key) => t.h.context.services.revocation.revoke(OPERATOR, key), undefined],
    ['edited again', (key) => t.h.context.services.modification.modify(OPERATOR, key, { scopes: [] }), []],
  ])(
    'what an edit has written, and arrives late, does nothing to a token that was %s meanwhile',
    async (_what, meanwhile, scopes) => {
      t.expectErrors()
      const root = await makeRoot(t.h, { endsIn: 86_400 })
      const late: (() => Promise<void>)[] = []
      const failing = serviceOver((tokens) => ({
        replace: async (entry, data) => {
          late.push(() => tokens.replace(entry, data))
          throw new UnavailableError('redis', new Error('gone'))
        },
      }))
      await expect(failing.modify(OPERATOR, keyOf(root), { scopes: ['read:tap'] })).rejects.toThrow(
        failure('UNAVAILABLE'),
      )
      await meanwhile(keyOf(root))
      expect(late.length).toBeGreaterThan(0)
      for (const write of late) await expect(write()).rejects.toThrow(failure('UNAVAILABLE'))
      expect((await t.tokens.get(keyOf(root)))?.scopes).toEqual(scopes)
    },
  )

  it('what an edit adds is not given to a token that was revoked before it could be', async () => {
    const root = await makeRoot(t.h, { endsIn: 86_400 })
    const revoke = () => t.h.context.services.revocation.revoke(OPERATOR, keyOf(root))
    const late = serviceOver(() => ({}), revoke)
    await expect(late.modify(OPERATOR, keyOf(root), { expiresAt: null })).rejects.toThrow(
      failure('NOT_FOUND'),
    )
    expect(await storedOf(t.h, 'redis', [root])).toEqual([])
  })

  it('what an edit adds is not given to a token that was edited again before it could be', async () => {
    const root = await makeRoot(t.h, { scopes: ['read:tap'], endsIn: 86_400 })
    const again = { scopes: ['exec:notebook'], expiresAt: inSeconds(3_600) }
    const late = serviceOver(
      () => ({}),
      () => t.h.context.services.modification.modify(OPERATOR, keyOf(root), again),
    )
    await late.modify(OPERATOR, keyOf(root), { scopes: ['read:all', 'read:tap'], expiresAt: null })
    expect(await t.tokens.get(keyOf(root))).toEqual({ ...root, ...again })
  })

  it('what an edit adds, and the token store is yet to have, is nothing for an audit to mend', async () => {
    const root = await makeRoot(t.h, { scopes: ['read:tap'], endsIn: 86_400 })
    const wanted = { scopes: ['read:all', 'read:tap'], expiresAt: null }
    const findings: AuditedFinding[] = []
    const late = serviceOver(
      () => ({}),
      async () => {
        for await (const found of t.h.context.services.audit.run({ fix: true })) findings.push(found)
      },
    )
    const caller = { actor: { kind: 'bootstrap' }, ipAddress: IP } as const
    await late.modify(caller, keyOf(root), wanted)
    expect(findings.filter(({ key }) => key === keyOf(root))).toEqual([])
    expect(await t.tokens.get(keyOf(root))).toEqual({ ...root, ...wanted })
  })

  it('what an edit adds brings back no token that was revoked when its row was not held any more', async () => {
    const root = await makeRoot(t.h, { endsIn: 86_400 })
    const failing = serviceOver((tokens) => ({
      replace: async (entry, data) => {
        await t.h.sql(
          `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
           WHERE datname = current_database() AND state = 'idle in transaction'`,
        )
        await t.h.context.services.revocation.revoke(OPERATOR, keyOf(root))
        return tokens.replace(entry, data)
      },
    }))
    await expect(failing.modify(OPERATOR, keyOf(root), { expiresAt: null })).rejects.toThrow(
      failure('UNAVAILABLE'),
    )
    expect(await storedOf(t.h, 'redis', [root])).toEqual([])
  })

  it('says something to the database for every hundred store entries, lest it ends the transaction', async () => {
    const costOf = async (children: number) => {
      const root = await makeRoot(t.h, { endsIn: 86_400 })
      await t.h.sql(
        `WITH child AS (
           INSERT INTO token (token, username, token_type, scopes, service, created, expires)
           SELECT n || $1, $2, 'internal', 'read:all', 'tap', now(), $3 FROM generate_series(1, $4) AS n RETURNING token)
         INSERT INTO subtoken SELECT token, $1 FROM child`,
        [keyOf(root), root.username, root.expiresAt?.toISOString(), children],
      )
      const statements = await statementsOf(() =>
        t.h.context.services.modification.modify(OPERATOR, keyOf(root), { scopes: [] }),
      )
      return statements.length
    }
    expect((await costOf(250)) - (await costOf(50))).toBe(2)
    // A thousand rows more are a statement more, besides.
    expect((await costOf(1_150)) - (await costOf(150))).toBe(11)
  })

  it('W50: an edit whose store entries cannot all be written is undone in both stores', async () => {
    const tree = await makeTree(t.h, { endsIn: 86_400 })
    const tokens = Object.values(tree)
    const documents = () => Promise.all(tokens.map((token) => documentOf(t.h, 'redis', token)))
    const before = [await rowsOf(t.h, tokens), await documents()]
    const refused = new Set<TokenKey>([keyOf(tree.grandchild)])
    const failing = serviceOver((store) => ({
      replace: async (entry, data) => {
        if (refused.delete(data.token.key)) throw new Error('refused')
        await store.replace(entry, data)
      },
    }))
    await expect(failing.modify(OPERATOR, keyOf(tree.root), { scopes: ['read:tap'] })).rejects.toThrow(
      'refused',
    )

    expect([await rowsOf(t.h, tokens), await documents()]).toEqual(before)
    expect(await historyOf(t.h, tokens, 'edit')).toEqual([])
  })
})
