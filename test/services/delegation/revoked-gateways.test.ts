import { describe, expect, it } from 'vitest'
import type { Delegator } from '../../../src/domain/gateway.ts'
import type { TokenData, TokenKey } from '../../../src/domain/token.ts'
import type {
  DelegatedToken,
  TokenCacheService,
} from '../../../src/services/delegation/token-cache-service.ts'
import { failure } from '../../support/checks/failures.ts'
import { makeGateway } from '../../support/porthor/gateway.ts'
import { IP, SHORT_LIVED } from '../../support/porthor/parent-token.ts'
import { OPERATOR, pauseRevocation, REVOCATION_STEPS } from '../../support/porthor/paused-revocation.ts'
import { notingPuts } from '../../support/porthor/token-store.ts'
import { usePorthor } from '../../support/porthor/use-porthor.ts'
import { heldUp } from '../../support/waiting/gate.ts'

const REFUSED_GATEWAY = failure('UNAUTHENTICATED', { reason: 'unknown', role: 'current' })
const REFUSED_SUBJECT = failure('UNAUTHENTICATED', { reason: 'unknown', role: 'subject' })

/** As a request is whose two tokens were authenticated before one of them was changed. */
const tap = (cache: TokenCacheService, subject: TokenData, gateway: TokenData): Promise<DelegatedToken> => {
  const by: Delegator = { kind: 'gateway', data: gateway }
  return cache.getInternalToken(subject, 'tap', ['read:all'], IP, { by })
}

describe.each(['redis', 'postgres'] as const)(
  'rule 19, for the two tokens of a gateway, with the token store in %s:',
  (store) => {
    const t = usePorthor(store, { ...SHORT_LIVED, DELEGATION: 'gateway' })
    const revoke = ({ token }: TokenData) => t.h.context.services.revocation.revoke(OPERATOR, token.key)

    /** Runs `ask` in another process, and expects that it issues nothing. */
    const expectNothing = async (
      ask: (cache: TokenCacheService) => Promise<unknown>,
      subject: TokenData,
      error: unknown,
    ) => {
      const puts: TokenKey[] = []
      await expect(ask(t.processOver(notingPuts(puts)))).rejects.toThrow(error as Error)
      expect(puts).toEqual([])
      expect(await t.children(subject)).toEqual([])
    }

    const lockRow = async ({ token }: TokenData): Promise<() => Promise<void>> => {
      const client = await t.connect()
      await client.query('BEGIN')
      await client.query('SELECT FROM token WHERE token = $1 FOR UPDATE', [token.key])
      return async () => void (await client.query('ROLLBACK'))
    }

    it('a gateway whose token has been revoked since it was authenticated obtains nothing', async () => {
      const [subject, gateway] = [await t.parent(), await makeGateway(t.h)]
      await revoke(gateway)
      await expectNothing((cache) => tap(cache, subject, gateway), subject, REFUSED_GATEWAY)
      await t.tokens.put(gateway)
      await expectNothing((cache) => tap(cache, subject, gateway), subject, REFUSED_GATEWAY)
    })

    it('nothing is issued from a subject that has been revoked since it was authenticated', async () => {
      const [subject, gateway] = [await t.parent(), await makeGateway(t.h)]
      await revoke(subject)
      await expectNothing((cache) => tap(cache, subject, gateway), subject, REFUSED_SUBJECT)
      await t.tokens.put(subject)
      t.expectErrors()
      const error = failure('UNAUTHENTICATED', { reason: 'desynchronised', role: 'subject' })
      await expectNothing((cache) => tap(cache, subject, gateway), subject, error)
    })

    it.each(REVOCATION_STEPS)(
      'while the revocation of the gateway, or of the subject, is at the step "%s", nothing is issued',
      async (step) => {
        for (const role of ['gateway', 'subject'] as const) {
          const [subject, gateway] = [await t.parent(), await makeGateway(t.h)]
          const revoked = role === 'gateway' ? gateway : subject
          const goOn = await pauseRevocation(t, revoked.token.key, step)
          const error = role === 'gateway' ? REFUSED_GATEWAY : REFUSED_SUBJECT
          await expectNothing((cache) => tap(cache, subject, gateway), subject, error)
          expect(await goOn()).toEqual([revoked.token.key])
        }
      },
    )

    it.each(['gateway', 'subject'] as const)(
      'a creation that waits for its %s while the revocation of that token is decided issues nothing',
      async (role) => {
        const [subject, gateway] = [await t.parent(), await makeGateway(t.h)]
        const revoked = role === 'gateway' ? gateway : subject
        const puts: TokenKey[] = []
        const unlock = await lockRow(revoked)
        const asked = heldUp(tap(t.processOver(notingPuts(puts)), subject, gateway))
        await t.waiting(1)
        const revocation = heldUp(revoke(revoked))
        await t.waiting(2)
        await unlock()
        await expect(asked).rejects.toThrow((role === 'gateway' ? REFUSED_GATEWAY : REFUSED_SUBJECT) as Error)
        expect(await revocation).toEqual([revoked.token.key])
        expect(puts).toEqual([])
        expect(await t.children(subject)).toEqual([])
      },
    )

    it('the revocation of a gateway waits for a creation that holds its token, and leaves the child of the user', async () => {
      const [subject, gateway] = [await t.parent(), await makeGateway(t.h)]
      const client = await t.connect()
      await client.query('BEGIN; LOCK TABLE token_change_history IN SHARE MODE')
      const asked = heldUp(tap(t.cache, subject, gateway))
      await t.waiting(1)
      const revoked = heldUp(revoke(gateway))
      await t.waiting(2)
      await client.query('ROLLBACK')
      const { data } = await asked
      expect(await revoked).toEqual([gateway.token.key])
      expect(await t.children(subject)).toEqual([data.token.key])
      expect(await t.tokens.find(data.token.key)).toEqual(data)
    })

    it('a gateway that has lost delegate:token in one of the stores obtains nothing', async () => {
      const subject = await t.parent()
      const [one, two] = [await makeGateway(t.h), await makeGateway(t.h)]
      await t.h.sql("UPDATE token SET scopes = '' WHERE token = $1", [one.token.key])
      await t.tokens.put({ ...two, scopes: [] })
      for (const gateway of [one, two]) {
        await expectNothing((cache) => tap(cache, subject, gateway), subject, failure('PERMISSION_DENIED'))
      }
    })

    it('a service token that has a parent is no gateway', async () => {
      const [subject, gateway] = [await t.parent(), await makeGateway(t.h)]
      await t.h.sql('INSERT INTO subtoken (child, parent) VALUES ($1, $2)', [
        gateway.token.key,
        (await t.parent()).token.key,
      ])
      await expectNothing((cache) => tap(cache, subject, gateway), subject, failure('PERMISSION_DENIED'))
    })

    it('concurrent equal requests of two gateways issue one child, and one that is revoked fails alone', async () => {
      const subject = await t.parent()
      const [live, other] = [await makeGateway(t.h), await makeGateway(t.h, { username: 'bot-other' })]
      await revoke(other)
      const answers = await Promise.allSettled([
        tap(t.cache, subject, other),
        tap(t.cache, subject, live),
        tap(t.cache, subject, live),
      ])
      expect(answers.map(({ status }) => status)).toEqual(['rejected', 'fulfilled', 'fulfilled'])
      expect(await t.children(subject)).toHaveLength(1)
    })
  },
)
