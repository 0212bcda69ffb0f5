import { describe, expect, it } from 'vitest'
import type { TokenData } from '../../../src/domain/token.ts'
import type { TokenCacheService } from '../../../src/services/delegation/token-cache-service.ts'
import { IP, LIFE, SHORT_LIVED } from '../../support/porthor/parent-token.ts'
import { usePorthor } from '../../support/porthor/use-porthor.ts'

const MAX_DEPTH = 3
const MAX_CHILDREN = 5

const delegate = async (cache: TokenCacheService, parent: TokenData, service = 'tap') =>
  (await cache.getInternalToken(parent, service, [], IP)).data

describe.each(['redis', 'postgres'] as const)('over %s', (store) => {
  describe('rule 13: a chain of delegations has at most DELEGATION_MAX_DEPTH delegated tokens', () => {
    const t = usePorthor(store, { ...SHORT_LIVED, DELEGATION_MAX_DEPTH: `${MAX_DEPTH}` })

    /** A chain of `length` delegated tokens, the last first. */
    const chain = async (length: number): Promise<TokenData[]> => {
      const tokens = [await t.parent()]
      for (const parent of tokens) if (tokens.length <= length) tokens.push(await delegate(t.cache, parent))
      return tokens.reverse()
    }

    it('so that neither an internal nor a notebook token is issued from the last one', async () => {
      const [last, parent] = await chain(MAX_DEPTH)
      if (!last || !parent) throw new Error('there is no chain')
      for (const ask of [delegate(t.cache, last), t.cache.getNotebookToken(last, IP)]) {
        await expect(ask).rejects.toMatchObject({ code: 'DELEGATION_TOO_DEEP' })
      }
      expect(await t.children(last)).toEqual([])
      expect(await delegate(t.cache, parent, 'portal')).toMatchObject({ service: 'portal' })
    })

    it('and live tokens are reused at any depth', async () => {
      const [last] = await chain(MAX_DEPTH)
      if (!last) throw new Error('there is no chain')
      const child = await delegate(t.anotherProcess({ DELEGATION_MAX_DEPTH: '50' }), last)
      for (const source of ['database', 'cache']) {
        expect(await t.cache.getInternalToken(last, 'tap', [], IP)).toEqual({ data: child, source })
      }
    })

    it('also where the lineage is circular', async () => {
      const [last, , first] = await chain(MAX_DEPTH)
      if (!last || !first) throw new Error('there is no chain')
      await t.h.sql('UPDATE subtoken SET parent = $1 WHERE child = $2', [last.token.key, first.token.key])
      await expect(delegate(t.cache, first, 'portal')).rejects.toMatchObject({ code: 'DELEGATION_TOO_DEEP' })
    })
  })

  describe('where delegated tokens may create tokens', () => {
    const t = usePorthor(store, {
      ...SHORT_LIVED,
      DELEGATED_TOKENS_MAY_CREATE: 'true',
      DELEGATION_MAX_DEPTH: `${MAX_DEPTH}`,
      MAX_CHILDREN: `${MAX_CHILDREN}`,
    })
    let names = 0
    const create = (data: TokenData) => {
      names += 1
      const input = { tokenName: `token ${names}`, scopes: ['user:token'], expiresAt: null }
      return t.h.context.services.tokens.createUser({ actor: { kind: 'token', data }, ipAddress: IP }, input)
    }
    const notebook = async () =>
      (await t.cache.getNotebookToken(await t.parent({ scopes: ['user:token'] }), IP)).data

    it('rule 13: a chain of tokens that each created the next has the same limit as a chain of delegations', async () => {
      const chain: TokenData[] = [await notebook()]
      for (const token of chain) if (chain.length < MAX_DEPTH) chain.push(await create(token))
      const last = chain.at(-1)
      if (!last) throw new Error('there is no chain')
      await expect(create(last)).rejects.toMatchObject({ code: 'DELEGATION_TOO_DEEP' })
      await expect(delegate(t.cache, last)).rejects.toMatchObject({ code: 'DELEGATION_TOO_DEEP' })
      expect(await t.children(last)).toEqual([])
    })

    it('rule 14: a parent has at most MAX_CHILDREN created and delegated live tokens together, also with 30 requests at once', async () => {
      const parent = await notebook()
      await delegate(t.cache, parent)
      const answers = await Promise.allSettled(Array.from({ length: 30 }, () => create(parent)))
      expect(answers.filter(({ status }) => status === 'fulfilled')).toHaveLength(MAX_CHILDREN - 1)
      for (const answer of answers) {
        if (answer.status === 'rejected') expect(answer.reason).toMatchObject({ code: 'TOO_MANY_TOKENS' })
      }
      await expect(delegate(t.cache, parent, 'other')).rejects.toMatchObject({ code: 'TOO_MANY_TOKENS' })
      expect(await t.children(parent)).toHaveLength(MAX_CHILDREN)
    })

    it('rules 13 and 14 do not limit what a session creates, which is not its child', async () => {
      let token: TokenData = await t.parent({ scopes: ['user:token'] })
      for (let length = 0; length <= MAX_DEPTH; length += 1) token = await create(token)
      for (let count = 0; count <= MAX_CHILDREN; count += 1) await create(token)
    })
  })

  describe('rule 14: a parent has at most MAX_CHILDREN live children', () => {
    const t = usePorthor(store, { ...SHORT_LIVED, MAX_CHILDREN: `${MAX_CHILDREN}` })

    /** As many children as there may be. */
    const fill = async (parent: TokenData): Promise<TokenData[]> => {
      const children: TokenData[] = []
      for (let index = 0; index < MAX_CHILDREN; index += 1) {
        children.push(await delegate(t.cache, parent, `service-${index}`))
      }
      return children
    }

    it('and exactly as many when 50 different requests arrive at two processes at once', async () => {
      const parent = await t.parent()
      const caches = [t.cache, t.anotherProcess()]
      const answers = await Promise.allSettled(
        Array.from({ length: 50 }, (_, index) =>
          delegate(caches[index % 2] ?? t.cache, parent, `s-${index}`),
        ),
      )
      expect(answers.filter(({ status }) => status === 'fulfilled')).toHaveLength(MAX_CHILDREN)
      for (const answer of answers) {
        if (answer.status === 'rejected') expect(answer.reason).toMatchObject({ code: 'TOO_MANY_TOKENS' })
      }
      expect(await t.children(parent)).toHaveLength(MAX_CHILDREN)
    })

    it('and those are reused, from the cache and from the database', async () => {
      const parent = await t.parent()
      const [first] = await fill(parent)
      await expect(t.cache.getNotebookToken(parent, IP)).rejects.toMatchObject({ code: 'TOO_MANY_TOKENS' })
      for (const cache of [t.cache, t.anotherProcess()]) {
        expect(await delegate(cache, parent, 'service-0')).toEqual(first)
      }
    })

    it('not counting revoked ones, and ones that have expired by the database', async () => {
      const parent = await t.parent()
      const [first] = await fill(parent)
      await t.h.sql('DELETE FROM token WHERE token = $1', [first?.token.key])
      expect(await delegate(t.cache, parent, 'other')).toMatchObject({ service: 'other' })
      await expect(delegate(t.cache, parent, 'another')).rejects.toMatchObject({ code: 'TOO_MANY_TOKENS' })
      t.clock.advance(LIFE)
      expect(await delegate(t.cache, parent, 'another')).toMatchObject({ service: 'another' })
    })

    it('and each token of a user has its own limit', async () => {
      const parent = await t.parent()
      await fill(parent)
      const other = await t.parent({ username: parent.username })
      expect(await delegate(t.cache, other)).toMatchObject({ service: 'tap' })
    })
  })
})
