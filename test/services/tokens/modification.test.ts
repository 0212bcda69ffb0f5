import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { UnavailableError } from '../../../src/domain/errors.ts'
import type { TokenData, TokenKey } from '../../../src/domain/token.ts'
import type { AuditedFinding } from '../../../src/services/maintenance/audit-service.ts'
import { PendingChangeCompleter } from '../../../src/services/tokens/pending-change-completer.ts'
import { RecordUpdater } from '../../../src/services/tokens/record-updater.ts'
import { TokenModificationService } from '../../../src/services/tokens/token-modification-service.ts'
import { TokenNames } from '../../../src/services/tokens/token-names.ts'
import { WriteLimit } from '../../../src/services/tokens/write-limit.ts'
import { PendingChangeDatabase } from '../../../src/stores/database/pending-change-database.ts'
import { TokenDatabase } from '../../../src/stores/database/token-database.ts'
import type { TokenStore } from '../../../src/stores/token-store/token-store.ts'
import { failure } from '../../support/checks/failures.ts'
import { SHORT_LIVED } from '../../support/porthor/parent-token.ts'
import { overriding } from '../../support/porthor/token-store.ts'
import { usePorthor } from '../../support/porthor/use-porthor.ts'
import { waitForLocks } from '../../support/stores/locks.ts'
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
  storedOf,
} from '../../support/tokens/trees.ts'
import { makeGate } from '../../support/waiting/gate.ts'

const OPERATOR = { actor: { kind: 'operator' }, ipAddress: IP } as const

describe.each(['redis', 'postgres'] as const)('an edit, with the token store in %s,', (store) => {
  const t = usePorthor(store)
  const service = () => t.h.context.services.modification
  const inSeconds = (seconds: number) => new Date(t.h.clock.now().getTime() + seconds * 1000)
  const documentsOf = (tokens: Parameters<typeof rowsOf>[1]) =>
    Promise.all(tokens.map((token) => documentOf(t.h, store, token)))

  it('of a token without a record is NOT_FOUND, and changes nothing', async () => {
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

  it('of a token that has expired, and is not yet deleted, is NOT_FOUND: it stays expired', async () => {
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

  it('changes a descendant without a record in the database alone', async () => {
    const { root, child, grandchild } = await makeTree(t.h)
    await dropEntry(t.h, store, child)
    await service().modify(OPERATOR, keyOf(root), { scopes: [] })

    const rows = await rowsOf(t.h, [child, grandchild])
    expect([rows[keyOf(child)]?.scopes, rows[keyOf(grandchild)]?.scopes]).toEqual(['', ''])
    expect(await storedOf(t.h, store, [child, grandchild])).toEqual([grandchild])
  })

  it('whose commit fails changes nothing in either store, and can be repeated', async () => {
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

  it('changes nothing in the token store before the commit, and all of it afterwards', async () => {
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
      { scopes: root.scopes, expires },
      { scopes: child.scopes, expires },
    ])

    await holding.query('SELECT pg_advisory_unlock(50)')
    await modified
    expect(await read()).toMatchObject([
      { scopes: wanted.scopes, expires: wanted.expiresAt.getTime() / 1000 },
      { scopes: ['read:tap'], expires },
    ])
  })

  it('treats a token in its last second as expired: it gets nothing, and prevents nothing', async () => {
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

  describe('of a token name:', () => {
    it('of two edits to the same name at once, one succeeds and the other is DUPLICATE_TOKEN_NAME', async () => {
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

    it('a name that only an expired token has can be used, and the expiry gets a history event', async () => {
      const old = await makeRoot(t.h, { tokenName: 'laptop', endsIn: 300 })
      t.h.clock.advance(301)
      const { username } = old
      const next = await makeRoot(t.h, { username, tokenName: 'desk' })
      await service().modify(OPERATOR, keyOf(next), { tokenName: 'laptop' })

      expect(Object.keys(await rowsOf(t.h, [old, next]))).toEqual([keyOf(next)])
      expect(await historyOf(t.h, [old], 'expire')).toMatchObject([{ actor: '<internal>', ip_address: null }])
    })

    it('an edit that is refused leaves the expired token with the name', async () => {
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

describe('an edit with concurrent requests', () => {
  const t = usePorthor('redis', SHORT_LIVED)
  const inSeconds = (seconds: number) => new Date(t.clock.now().getTime() + seconds * 1000)

  /** Another process, whose token store goes through `wrap`; `between` the commit and what follows it. */
  const serviceOver = (
    wrap: (tokens: TokenStore) => Partial<TokenStore>,
    between = async (): Promise<unknown> => undefined,
  ): TokenModificationService => {
    const { config, prisma, clock, log } = t.h.context
    const tokens = overriding(t.tokens, wrap(t.tokens))
    const database = new TokenDatabase(prisma)
    const updater = new RecordUpdater({ tokens, database, clock })
    const pending = new PendingChangeDatabase(prisma)
    const own = new PendingChangeCompleter({ tokens, database, pending, updater, clock, log })
    const pendingChanges = {
      completeEdit: async (key: TokenKey) => {
        await between()
        await own.completeEdit(key)
      },
    }
    return new TokenModificationService({
      tokens,
      database,
      pendingChanges,
      writeLimit: new WriteLimit(),
      names: new TokenNames({ tokens, database, clock, log }),
      clock,
      log,
      knownScopes: config.knownScopes,
      mayDelegatedTokensCreate: false,
    })
  }

  it('waits for a child that is being issued, and shortens it too', async () => {
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

  it('gives a request in progress with the old scopes and expiry no child that exceeds the new ones', async () => {
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

  it('does not restore a token that is revoked while its records are written', async () => {
    const { root, child, notebook, grandchild } = await makeTree(t.h, { endsIn: 86_400 })
    const slow = serviceOver((tokens) => ({
      replace: async (entry, data) => {
        await t.h.context.services.revocation.revoke(OPERATOR, keyOf(root)).catch(() => undefined)
        return tokens.replace(entry, data)
      },
    }))
    await slow.modify(OPERATOR, keyOf(root), { scopes: ['read:tap'] })
    expect(await storedOf(t.h, 'redis', [root, child, notebook, grandchild])).toEqual([])
    expect(await rowsOf(t.h, [root, child, notebook, grandchild])).toEqual({})
  })

  it('does not undo another edit of the token while its records are written', async () => {
    const root = await makeRoot(t.h, { endsIn: 86_400 })
    const child = await lend(t.h, root, 'tap', ['read:all', 'read:tap'])
    let isFirst = true
    const slow = serviceOver((tokens) => ({
      replace: async (entry, data) => {
        if (isFirst) {
          isFirst = false
          await t.h.context.services.modification.modify(OPERATOR, keyOf(root), { scopes: [] })
        }
        return tokens.replace(entry, data)
      },
    }))
    await slow.modify(OPERATOR, keyOf(root), { scopes: ['read:tap'] })
    for (const token of [root, child]) {
      expect(JSON.parse((await documentOf(t.h, 'redis', token)) ?? '')).toMatchObject({ scopes: [] })
    }
  })

  it('that does not reach the token store is UNAVAILABLE, says that it is recorded, and is completed', async () => {
    const root = await makeRoot(t.h, { scopes: ['read:tap'], endsIn: 86_400 })
    const wanted = { scopes: ['read:all', 'read:tap'], expiresAt: null }
    const failing = serviceOver(() => ({
      replace: () => Promise.reject(new UnavailableError('redis', new Error('gone'))),
    }))
    await expect(failing.modify(OPERATOR, keyOf(root), wanted)).rejects.toThrow(
      failure('UNAVAILABLE', { message: expect.stringContaining('is recorded and will be completed') }),
    )
    expect(await t.tokens.find(keyOf(root))).toEqual(root)

    expect(await t.h.context.services.pendingChanges.completeAll(0)).toBe(1)
    expect(await t.tokens.find(keyOf(root))).toEqual({ ...root, ...wanted })
    expect(await t.h.sql('SELECT FROM porthor_pending_change')).toEqual([])
  })

  it('whose records take longer than a response may is UNAVAILABLE, says that it is recorded, and is completed', async () => {
    const root = await makeRoot(t.h, { scopes: ['read:all', 'read:tap'] })
    const released = makeGate()
    onTestFinished(released.open)
    const caller = { actor: { kind: 'bootstrap' }, ipAddress: IP } as const
    const slow = serviceOver(
      () => ({}),
      () => released.opened,
    )
    await expect(slow.modify(caller, keyOf(root), { scopes: ['read:tap'] })).rejects.toThrow(
      failure('UNAVAILABLE', { message: expect.stringContaining('is recorded and will be completed') }),
    )
    released.open()
    await vi.waitFor(async () =>
      expect(await t.tokens.find(keyOf(root))).toMatchObject({ scopes: ['read:tap'] }),
    )
  })

  it.each<[string, (key: TokenKey) => Promise<unknown>, readonly string[] | undefined]>([
    ['revoked', (key) => t.h.context.services.revocation.revoke(OPERATOR, key), undefined],
    ['edited again', (key) => t.h.context.services.modification.modify(OPERATOR, key, { scopes: [] }), []],
  ])(
    'whose write arrives late changes nothing in a token that was %s meanwhile',
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
      expect((await t.tokens.find(keyOf(root)))?.scopes).toEqual(scopes)
    },
  )

  it('grants nothing to a token that was revoked before its record was written', async () => {
    const root = await makeRoot(t.h, { endsIn: 86_400 })
    const revoke = () => t.h.context.services.revocation.revoke(OPERATOR, keyOf(root))
    const late = serviceOver(() => ({}), revoke)
    await late.modify(OPERATOR, keyOf(root), { expiresAt: null })
    expect(await storedOf(t.h, 'redis', [root])).toEqual([])
  })

  it('grants nothing to a token that was edited again before its record was written', async () => {
    const root = await makeRoot(t.h, { scopes: ['read:tap'], endsIn: 86_400 })
    const again = { scopes: ['exec:notebook'], expiresAt: inSeconds(3_600) }
    const late = serviceOver(
      () => ({}),
      () => t.h.context.services.modification.modify(OPERATOR, keyOf(root), again),
    )
    await late.modify(OPERATOR, keyOf(root), { scopes: ['read:all', 'read:tap'], expiresAt: null })
    expect(await t.tokens.find(keyOf(root))).toEqual({ ...root, ...again })
  })

  it('that has not reached the token store yet is not fixed by an audit', async () => {
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
    expect(await t.tokens.find(keyOf(root))).toEqual({ ...root, ...wanted })
  })

  it('whose records cannot all be written is completed, whatever the reason was', async () => {
    const tree = await makeTree(t.h, { endsIn: 86_400 })
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
    await t.h.context.services.pendingChanges.completeAll(0)
    const scopesOf = async (token: TokenData) => (await t.tokens.find(keyOf(token)))?.scopes
    const scopes = await Promise.all(Object.values(tree).map(scopesOf))
    expect(scopes).toEqual([['read:tap'], ['read:tap'], ['read:tap'], []])
    expect(await historyOf(t.h, Object.values(tree), 'edit')).toHaveLength(4)
  })

  it('keeps in the token store what it is not about, though the row differs', async () => {
    const root = await makeRoot(t.h, { endsIn: 86_400 })
    await t.h.sql("UPDATE token SET scopes = 'read:all' WHERE token = $1", [keyOf(root)])
    await t.h.context.services.modification.modify(OPERATOR, keyOf(root), { expiresAt: null })
    expect(await t.tokens.find(keyOf(root))).toEqual({ ...root, expiresAt: null })
  })
})
