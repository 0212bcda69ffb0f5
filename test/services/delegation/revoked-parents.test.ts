import { describe, expect, it } from 'vitest'
import type { TokenData, TokenKey } from '../../../src/domain/token.ts'
import type {
  DelegatedToken,
  TokenCacheService,
} from '../../../src/services/delegation/token-cache-service.ts'
import { IP, LIFE, SHORT_LIVED } from '../../support/porthor/parent-token.ts'
import { OPERATOR, pauseRevocation, REVOCATION_STEPS } from '../../support/porthor/paused-revocation.ts'
import { notingPuts } from '../../support/porthor/token-store.ts'
import { usePorthor } from '../../support/porthor/use-porthor.ts'
import { GafaelfawrRevocation } from '../../support/stores/gafaelfawr-revocation.ts'
import { heldUp } from '../../support/waiting/gate.ts'

const tap = (
  cache: TokenCacheService,
  parent: TokenData,
  minimumLifetime?: number,
): Promise<DelegatedToken> => cache.getInternalToken(parent, 'tap', ['read:all'], IP, { minimumLifetime })

const notebook = (cache: TokenCacheService, parent: TokenData): Promise<DelegatedToken> =>
  cache.getNotebookToken(parent, IP)

const KINDS = [
  ['an internal token', tap],
  ['a notebook token', notebook],
] as const

const REFUSED = { code: 'UNAUTHENTICATED', reason: 'unknown' }

describe.each(['redis', 'postgres'] as const)('rule 8, with the token store in %s:', (store) => {
  const t = usePorthor(store, { ...SHORT_LIVED, TOKEN_LIFETIME: '30d' })
  const revoke = ({ token }: TokenData) => t.h.context.services.revocation.revoke(OPERATOR, token.key)

  /** Stops every creation after it has taken its locks and looked again, and before it writes. */
  const stopInserts = async (): Promise<() => Promise<void>> => {
    const client = await t.connect()
    await client.query('BEGIN; LOCK TABLE token_change_history IN SHARE MODE')
    return async () => void (await client.query('ROLLBACK'))
  }

  /** Locks the row of a token, so that whoever wants to hold it waits. */
  const lockRow = async ({ token }: TokenData): Promise<() => Promise<void>> => {
    const client = await t.connect()
    await client.query('BEGIN')
    await client.query('SELECT FROM token WHERE token = $1 FOR UPDATE', [token.key])
    return async () => void (await client.query('ROLLBACK'))
  }

  /** Nothing is left of any token of this user, in either store. */
  const expectNothingOf = async (parent: TokenData, keys: readonly TokenKey[]) => {
    expect(await t.h.sql('SELECT token FROM token WHERE username = $1', [parent.username])).toEqual([])
    expect(await Promise.all(keys.map((key) => t.tokens.find(key)))).toEqual(keys.map(() => undefined))
  }

  describe.each(REVOCATION_STEPS)('while a revocation is at the step "%s",', (step) => {
    it.each(KINDS)('no process issues %s from the revoked token', async (_what, ask) => {
      const parent = await t.parent()
      const puts: TokenKey[] = []
      const goOn = await pauseRevocation(t, parent.token.key, step)
      for (const cache of [t.processOver(notingPuts(puts)), t.cache]) {
        await expect(ask(cache, parent)).rejects.toMatchObject(REFUSED)
      }
      expect(puts).toEqual([])
      expect(await goOn()).toEqual([parent.token.key])
      await expectNothingOf(parent, [parent.token.key])
    })

    it('nothing is issued in the place of a child of the revoked token', async () => {
      const parent = await t.parent()
      const child = (await tap(t.cache, parent)).data
      const puts: TokenKey[] = []
      const cache = t.processOver(notingPuts(puts))
      const goOn = await pauseRevocation(t, parent.token.key, step)
      t.clock.advance(600)
      await expect(tap(cache, parent, LIFE - 300)).rejects.toMatchObject(REFUSED)
      expect(puts).toEqual([])
      expect(await goOn()).toEqual([child.token.key, parent.token.key])
      await expectNothingOf(parent, [parent.token.key, child.token.key])
    })

    it('nothing is issued from a descendant of the revoked token', async () => {
      const session = await t.parent()
      const parent = (await t.cache.getInternalToken(session, 'portal', ['read:all'], IP)).data
      const goOn = await pauseRevocation(t, session.token.key, step)
      await expect(tap(t.cache, parent)).rejects.toMatchObject(REFUSED)
      expect(await goOn()).toEqual([parent.token.key, session.token.key])
      await expectNothingOf(session, [session.token.key, parent.token.key])
    })
  })

  it.each(KINDS)(
    'a creation of %s that waits for its parent while the revocation is decided issues nothing',
    async (_what, ask) => {
      const parent = await t.parent()
      const puts: TokenKey[] = []
      const unlock = await lockRow(parent)
      const asked = heldUp(ask(t.processOver(notingPuts(puts)), parent))
      await t.waiting(1)
      const revoked = heldUp(revoke(parent))
      await t.waiting(2)
      await unlock()
      await expect(asked).rejects.toMatchObject(REFUSED)
      expect(await revoked).toEqual([parent.token.key])
      expect(puts).toEqual([])
      await expectNothingOf(parent, [parent.token.key])
    },
  )

  it.each(KINDS)(
    'a revocation waits for a creation of %s that holds the parent, and revokes the new child too',
    async (_what, ask) => {
      const parent = await t.parent()
      const letGo = await stopInserts()
      const asked = heldUp(ask(t.cache, parent))
      await t.waiting(1)
      const revoked = heldUp(revoke(parent))
      await t.waiting(2)
      await letGo()
      const { data } = await asked
      expect(await revoked).toEqual([data.token.key, parent.token.key])
      await expectNothingOf(parent, [parent.token.key, data.token.key])
    },
  )

  it('a revocation that has locked only the named token revokes what is issued below it meanwhile', async () => {
    const session = await t.parent()
    const parent = (await t.cache.getInternalToken(session, 'portal', ['read:all'], IP)).data
    const letGo = await stopInserts()
    const asked = heldUp(tap(t.cache, parent))
    await t.waiting(1)
    const revoked = heldUp(revoke(session))
    await t.waiting(2)
    await letGo()
    const child = (await asked).data
    expect(await revoked).toEqual([child.token.key, parent.token.key, session.token.key])
    await expectNothingOf(session, [session.token.key, parent.token.key, child.token.key])
  })

  it('a cached child is not reused once its parent is revoked', async () => {
    const parent = await t.parent()
    await tap(t.cache, parent)
    await revoke(parent)
    await expect(tap(t.cache, parent)).rejects.toMatchObject({ code: 'UNAUTHENTICATED' })
  })

  it('nothing is issued from a parent of which only the record is deleted', async () => {
    const parent = await t.parent()
    const puts: TokenKey[] = []
    await t.tokens.delete([parent.token.key])
    await expect(tap(t.processOver(notingPuts(puts)), parent)).rejects.toMatchObject(REFUSED)
    expect(puts).toEqual([])
  })

  describe('while a Gafaelfawr on the same stores revokes a token,', () => {
    const begin = async ({ token }: TokenData): Promise<GafaelfawrRevocation> => {
      const revocation = new GafaelfawrRevocation(await t.connect(), t.tokens, token.key)
      await revocation.begin()
      return revocation
    }

    it.each(KINDS)('a creation of %s from it waits, and issues nothing', async (_what, ask) => {
      const parent = await t.parent()
      const puts: TokenKey[] = []
      const revocation = await begin(parent)
      await revocation.deleteTokens()
      const asked = heldUp(ask(t.processOver(notingPuts(puts)), parent))
      await t.waiting(1)
      await revocation.commit()
      await expect(asked).rejects.toMatchObject(REFUSED)
      expect(puts).toEqual([])
      await expectNothingOf(parent, [parent.token.key])
    })

    it('a child that is issued once it has listed the children is an orphan, which maintenance revokes', async () => {
      const parent = await t.parent()
      const revocation = await begin(parent)
      const child = (await tap(t.cache, parent)).data
      await revocation.deleteTokens()
      await revocation.commit()
      expect(await t.tokens.find(child.token.key)).toEqual(child)
      await t.h.context.services.maintenance.run()
      await expectNothingOf(parent, [parent.token.key, child.token.key])
    })

    it('a creation from its child waits, and issues nothing', async () => {
      const session = await t.parent()
      const parent = (await t.cache.getInternalToken(session, 'portal', ['read:all'], IP)).data
      const revocation = await begin(session)
      await revocation.deleteTokens()
      const asked = heldUp(tap(t.cache, parent))
      await t.waiting(1)
      await revocation.commit()
      await expect(asked).rejects.toMatchObject(REFUSED)
      await expectNothingOf(session, [session.token.key, parent.token.key])
    })
  })

  describe('a creation that waited for an edit of its parent grants no more than the edit left:', () => {
    /** Returns what `ask` does when the parent is edited after the request was authenticated. */
    const duringEdit = async <T>(
      parent: TokenData,
      edit: Partial<TokenData>,
      ask: () => Promise<T>,
      where = { row: true, record: true },
    ): Promise<T> => {
      const client = await t.connect()
      await client.query('BEGIN')
      await client.query('SELECT FROM token WHERE token = $1 FOR UPDATE', [parent.token.key])
      const asked = heldUp(ask())
      await t.waiting(1)
      const edited = { ...parent, ...edit } as TokenData
      if (where.record) await t.tokens.put(edited)
      if (where.row) {
        await client.query(
          'UPDATE token SET scopes = $2, expires = $3::timestamptz AT TIME ZONE $4 WHERE token = $1',
          [parent.token.key, edited.scopes.join(','), edited.expiresAt?.toISOString(), 'UTC'],
        )
      }
      await client.query('COMMIT')
      return asked
    }
    const inSeconds = (seconds: number) => new Date(t.clock.now().getTime() + seconds * 1000)

    const WHERE = [
      ['both stores', { row: true, record: true }],
      ['the database only', { row: true, record: false }],
      ['the token store only', { row: false, record: true }],
    ] as const

    it.each(WHERE)(
      'the child expires with the parent, whose expiry was changed in %s',
      async (_what, where) => {
        const parent = await t.parent()
        const edit = { expiresAt: inSeconds(1_000) }
        const { data } = await duringEdit(parent, edit, () => tap(t.cache, parent), where)
        expect(data.expiresAt).toEqual(edit.expiresAt)
      },
    )

    it.each([
      ['less than 300 s', 299, undefined],
      ['less than the minimum lifetime', 900, 901],
    ])('nothing is issued from a parent that now expires in %s', async (_what, seconds, minimumLifetime) => {
      const parent = await t.parent()
      const edit = { expiresAt: inSeconds(seconds) }
      const asked = duringEdit(parent, edit, () => tap(t.cache, parent, minimumLifetime))
      await expect(asked).rejects.toMatchObject({ code: 'INSUFFICIENT_LIFETIME' })
      expect(await t.children(parent)).toEqual([])
    })

    it.each(WHERE)(
      'a scope that was removed from the parent in %s is not delegated',
      async (_what, where) => {
        const parent = await t.parent()
        const asked = duringEdit(parent, { scopes: ['read:tap'] }, () => tap(t.cache, parent), where)
        await expect(asked).rejects.toMatchObject({ code: 'INVALID_SCOPES' })
        expect(await t.children(parent)).toEqual([])
      },
    )

    it.each(WHERE)(
      'a notebook token has the scopes that were left to the parent in %s',
      async (_what, where) => {
        const parent = await t.parent()
        const ask = () => notebook(t.cache, parent)
        const { data } = await duringEdit(parent, { scopes: ['read:tap'] }, ask, where)
        expect(data.scopes).toEqual(['read:tap'])
      },
    )
  })
})
