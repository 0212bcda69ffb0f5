import { expect, it } from 'vitest'
import type { TokenData } from '../../../src/domain/token.ts'
import type { Caller } from '../../../src/services/tokens/token-service.ts'
import { IP, SHORT_LIVED } from '../../support/porthor/parent-token.ts'
import { usePorthor } from '../../support/porthor/use-porthor.ts'
import { aUsername, keyOf } from '../../support/tokens/trees.ts'

const t = usePorthor('postgres', SHORT_LIVED)

const by = (data: TokenData): Caller => ({ actor: { kind: 'token', data }, ipAddress: IP })

const countDeadlocks = async (): Promise<number> => {
  const [row] = await t.h.sql<{ deadlocks: string }>(
    'SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()',
  )
  return Number(row?.deadlocks)
}

it('tokens that edit or revoke themselves and each other at the same time cause no deadlock', async () => {
  const { tokens, modification, revocation } = t.h.context.services
  const operator: Caller = { actor: { kind: 'operator' }, ipAddress: IP }
  const username = aUsername()
  const create = (tokenName: string) =>
    tokens.createUser(operator, { username, tokenName, scopes: ['admin:token'], expiresAt: null })
  const [one, two] = [await create('one'), await create('two')]
  const before = await countDeadlocks()
  const pairs = [
    [one, one],
    [one, two],
    [two, one],
    [two, two],
  ] as const
  const edits = [...pairs, ...pairs].map(([current, changed]) =>
    modification.modify(by(current), keyOf(changed), { scopes: ['admin:token'] }),
  )
  await Promise.allSettled(edits)
  await Promise.allSettled(
    [one, one, two, two].map((current) => revocation.revokeMatching(by(current), { username })),
  )
  expect(await t.h.sql('SELECT FROM token WHERE username = $1', [username])).toEqual([])
  expect(await countDeadlocks()).toBe(before)
})
