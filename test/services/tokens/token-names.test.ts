import { describe, expect, it } from 'vitest'
import { Fernet, generateFernetKey } from '../../../src/lib/fernet.ts'
import { usePorthor } from '../../support/porthor/use-porthor.ts'
import {
  aUsername,
  dropEntry,
  historyOf,
  keyOf,
  lend,
  makeRoot,
  rowsOf,
  writeEntry,
} from '../../support/tokens/trees.ts'

const OPERATOR = { actor: { kind: 'operator' }, ipAddress: null } as const

describe.each(['redis', 'postgres'] as const)('over %s, the name of a token', (store) => {
  const t = usePorthor(store)

  it('is free where its row has no record: that row is deleted with its descendants', async () => {
    const username = aUsername()
    const lost = await makeRoot(t.h, { username, tokenName: 'laptop' })
    const child = await lend(t.h, lost, 'tap')
    await dropEntry(t.h, store, lost)

    const token = await makeRoot(t.h, { username, tokenName: 'laptop' })
    expect(Object.keys(await rowsOf(t.h, [lost, child, token]))).toEqual([keyOf(token)])
    const common = { actor: '<internal>', action: 'revoke', ip_address: null }
    expect(await historyOf(t.h, [lost, child], 'revoke')).toMatchObject([
      { ...common, token: keyOf(child) },
      { ...common, token: keyOf(lost) },
    ])
  })

  it('is free for another token that is renamed, where its row has no record', async () => {
    const username = aUsername()
    const lost = await makeRoot(t.h, { username, tokenName: 'laptop' })
    const token = await makeRoot(t.h, { username, tokenName: 'desk' })
    const rename = () =>
      t.h.context.services.modification.modify(OPERATOR, keyOf(token), { tokenName: 'laptop' })
    await expect(rename()).rejects.toMatchObject({ code: 'DUPLICATE_TOKEN_NAME' })
    await dropEntry(t.h, store, lost)

    await rename()
    expect(await rowsOf(t.h, [lost, token])).toMatchObject({ [keyOf(token)]: { token_name: 'laptop' } })
    expect(Object.keys(await rowsOf(t.h, [lost, token]))).toEqual([keyOf(token)])
    expect(await historyOf(t.h, [lost], 'revoke')).toMatchObject([{ actor: '<internal>' }])
    expect(await historyOf(t.h, [token], 'edit')).toHaveLength(1)
  })

  it('is taken where its token has a record, also one that only another encryption key decrypts', async () => {
    const username = aUsername()
    const token = await makeRoot(t.h, { username, tokenName: 'laptop' })
    const again = () => makeRoot(t.h, { username, tokenName: 'laptop' })
    await expect(again()).rejects.toMatchObject({ code: 'DUPLICATE_TOKEN_NAME' })
    await writeEntry(
      t.h,
      store,
      token,
      new Fernet([generateFernetKey()]).encrypt('{}', { now: t.h.clock.now() }),
    )
    await expect(again()).rejects.toMatchObject({ code: 'DUPLICATE_TOKEN_NAME' })
    expect(Object.keys(await rowsOf(t.h, [token]))).toEqual([keyOf(token)])
    await dropEntry(t.h, store, token)
  })
})
