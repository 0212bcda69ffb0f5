import { describe, expect, it } from 'vitest'
import type { Actor } from '../../../src/domain/actor.ts'
import type { TokenData } from '../../../src/domain/token.ts'
import type { Caller } from '../../../src/services/tokens/token-service.ts'
import { failure } from '../../support/checks/failures.ts'
import { IP, SHORT_LIVED } from '../../support/porthor/parent-token.ts'
import { OPERATOR, pauseRevocation, REVOCATION_STEPS } from '../../support/porthor/paused-revocation.ts'
import { usePorthor } from '../../support/porthor/use-porthor.ts'
import { GafaelfawrRevocation } from '../../support/stores/gafaelfawr-revocation.ts'
import { aUsername, keyOf, makeAdmin, makeRoot, rowsOf } from '../../support/tokens/trees.ts'

/** As a request is that was authenticated before `data` was changed. */
const by = (data: TokenData): Caller => ({ actor: { kind: 'token', data } satisfies Actor, ipAddress: IP })

describe.each(['redis', 'postgres'] as const)(
  'rule 19: the current token, with the token store in %s,',
  (store) => {
    const t = usePorthor(store, SHORT_LIVED)
    const services = () => t.h.context.services

    /** Every change that an admin can ask for; each would succeed if the token were valid. */
    const changes: readonly (readonly [string, (caller: Caller) => Promise<unknown>])[] = [
      [
        'create a session',
        (caller) =>
          services().tokens.createSession(caller, { username: aUsername(), scopes: ['admin:token'] }),
      ],
      [
        'create a service token',
        (caller) =>
          services().tokens.createService(caller, { username: 'bot-late', scopes: [], expiresAt: null }),
      ],
      [
        'create a user token',
        (caller) =>
          services().tokens.createUser(caller, {
            username: aUsername(),
            tokenName: 'late',
            scopes: [],
            expiresAt: null,
          }),
      ],
    ]

    it.each(changes)('that has been revoked since it was authenticated cannot %s', async (_what, change) => {
      const admin = await makeAdmin(t.h)
      await services().revocation.revoke(OPERATOR, keyOf(admin))
      await expect(change(by(admin))).rejects.toThrow(failure('UNAUTHENTICATED'))
    })

    it.each(changes)(
      'that has been revoked, and whose record is back in the token store, cannot %s',
      async (_what, change) => {
        const admin = await makeAdmin(t.h)
        await services().revocation.revoke(OPERATOR, keyOf(admin))
        await t.tokens.put(admin)
        await expect(change(by(admin))).rejects.toThrow(failure('UNAUTHENTICATED'))
        expect(await t.h.sql("SELECT FROM token WHERE username = 'bot-late' OR token_name = 'late'")).toEqual(
          [],
        )
      },
    )

    it.each(changes)('that is only in the database cannot %s', async (_what, change) => {
      const admin = await makeAdmin(t.h)
      await t.tokens.delete([keyOf(admin)])
      await expect(change(by(admin))).rejects.toThrow(failure('UNAUTHENTICATED'))
    })

    it.each(changes)('that has expired by its row alone cannot %s', async (_what, change) => {
      const admin = await makeAdmin(t.h)
      await t.h.sql('UPDATE token SET expires = created WHERE token = $1', [keyOf(admin)])
      await expect(change(by(admin))).rejects.toThrow(failure('UNAUTHENTICATED'))
    })

    it.each(changes)('that is no longer an admin in one of the stores cannot %s', async (_what, change) => {
      const [one, two] = [await makeAdmin(t.h), await makeAdmin(t.h)]
      await t.h.sql("UPDATE token SET scopes = 'read:all' WHERE token = $1", [keyOf(one)])
      await t.tokens.put({ ...two, scopes: ['read:all'] })
      for (const data of [one, two]) {
        await expect(change(by(data))).rejects.toThrow(failure('PERMISSION_DENIED'))
      }
    })

    it('grants no scope that it has lost since it was authenticated', async () => {
      const root = await makeRoot(t.h)
      await services().modification.modify(OPERATOR, keyOf(root), { scopes: ['user:token', 'read:tap'] })
      const input = { tokenName: 'late', expiresAt: null }
      const create = (scopes: string[]) => services().tokens.createUser(by(root), { ...input, scopes })
      await expect(create(['read:all'])).rejects.toThrow(failure('INVALID_SCOPES'))
      expect((await create(['read:tap'])).scopes).toEqual(['read:tap'])
    })

    it.each(REVOCATION_STEPS)('creates nothing while its revocation is at the step "%s"', async (step) => {
      const admin = await makeAdmin(t.h)
      const goOn = await pauseRevocation(t, keyOf(admin), step)
      const username = aUsername()
      const created = services().tokens.createSession(by(admin), { username, scopes: [] })
      await expect(created).rejects.toThrow(failure('UNAUTHENTICATED'))
      expect(await goOn()).toEqual([keyOf(admin)])
      expect(await t.h.sql('SELECT FROM token WHERE username = $1', [username])).toEqual([])
    })

    it('waits while a Gafaelfawr on the same stores revokes it, and creates nothing', async () => {
      const admin = await makeAdmin(t.h)
      const revocation = new GafaelfawrRevocation(await t.connect(), t.tokens, keyOf(admin))
      await revocation.begin()
      await revocation.deleteTokens()
      const username = aUsername()
      const created = services().tokens.createSession(by(admin), { username, scopes: [] })
      const refused = expect(created).rejects.toThrow(failure('UNAUTHENTICATED'))
      await t.waiting(1)
      await revocation.commit()
      await refused
      expect(await t.h.sql('SELECT FROM token WHERE username = $1', [username])).toEqual([])
    })

    it('creates tokens while it is live and unchanged', async () => {
      const admin = await makeAdmin(t.h)
      for (const [, change] of changes) await change(by(admin))
      expect(Object.keys(await rowsOf(t.h, [admin]))).toEqual([keyOf(admin)])
      await t.h.sql("DELETE FROM token WHERE username = 'bot-late'")
    })
  },
)
