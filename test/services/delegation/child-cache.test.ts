import fc from 'fast-check'
import { LRUCache } from 'lru-cache'
import { describe, expect, it } from 'vitest'
import type { CacheKey } from '../../../src/domain/delegation.ts'
import { generateToken, type Token, unsafeTokenKey } from '../../../src/domain/token.ts'
import { ChildCache } from '../../../src/services/delegation/child-cache.ts'
import { heapGrowth } from '../../support/checks/heap.ts'
import { aToken } from '../../support/tokens/token-data.ts'

const KEY: CacheKey = {
  parentKey: aToken('parent').key,
  parentEndMs: 1_767_312_000_000,
  service: 'tap',
  scopes: ['read:all', 'read:tap'],
}

const TOKEN = generateToken()
const MB = 2 ** 20

const keys: fc.Arbitrary<CacheKey> = fc.record({
  parentKey: fc.constantFrom('a', 'b').map((name) => aToken(name).key),
  parentEndMs: fc.constantFrom(null, 1_000, 2_000),
  service: fc.constantFrom('', 'tap'),
  scopes: fc.subarray(['read:all', 'read:tap']),
})

describe('the cache of children', () => {
  it.each<[string, Partial<CacheKey>]>([
    ['parent', { parentKey: aToken('another').key }],
    ['end of the parent', { parentEndMs: 1_767_312_001_000 }],
    ['parent, which does not end', { parentEndMs: null }],
    ['service', { service: 'tap2' }],
    ['set of scopes', { scopes: ['read:all'] }],
    ['set of scopes, of which there are none', { scopes: [] }],
  ])('has no entry for another %s', (_what, other) => {
    const cache = new ChildCache(10)
    cache.set(KEY, generateToken())

    expect(cache.get({ ...KEY, ...other })).toBe(undefined)
  })

  it('keeps a key as it was, whatever happens to the list of scopes that it was built from', () => {
    const cache = new ChildCache(10)
    const scopes = [...KEY.scopes]
    const token = generateToken()
    cache.set({ ...KEY, scopes }, token)
    scopes.pop()

    expect(cache.get(KEY)).toBe(token)
    expect(cache.get({ ...KEY, scopes })).toBe(undefined)
  })

  it('keeps no reference to an entry that it has evicted', async () => {
    const cache = new ChildCache(10)
    const grown = await heapGrowth(() => {
      for (let index = 0; index < 50_000; index += 1) {
        cache.set(
          { ...KEY, parentKey: unsafeTokenKey(`parent-${index % 2}-${index}`), service: `service-${index}` },
          TOKEN,
        )
        cache.set({ ...KEY, scopes: [`scope-${index}`] }, TOKEN)
      }
    })
    expect(cache.size).toBe(10)
    expect(grown).toBeLessThan(2 * MB)
  })

  it('keeps no reference to the texts that its keys are parts of', async () => {
    const cache = new ChildCache(200)
    const grown = await heapGrowth(() => {
      for (let index = 0; index < 200; index += 1) {
        const query = `${' '.repeat(100_000)}service-with-a-long-name-${index}, scope-with-a-long-name-${index}`
        const [service = '', scope = ''] = query.slice(100_000).split(', ')
        cache.set({ ...KEY, service, scopes: [scope] }, TOKEN)
      }
    })
    expect(cache.size).toBe(200)
    expect(grown).toBeLessThan(2 * MB)
  })

  it('behaves like an LRU cache that has the whole key as one text', () => {
    const get = fc.record({ step: fc.constant('get'), key: keys })
    const set = fc.record({ step: fc.constant('set'), key: keys })
    const clear = fc.record({ step: fc.constant('clear'), key: keys })
    const steps = fc.array(
      fc.oneof({ weight: 9, arbitrary: get }, { weight: 9, arbitrary: set }, { weight: 1, arbitrary: clear }),
      { maxLength: 60 },
    )
    fc.assert(
      fc.property(steps, fc.integer({ min: 1, max: 5 }), (story, max) => {
        const cache = new ChildCache(max)
        const model = new LRUCache<string, Token>({ max })
        for (const { step, key } of story) {
          const text = JSON.stringify(key)
          if (step === 'get') expect(cache.get(key)).toBe(model.get(text))
          else if (step === 'set') {
            const token = generateToken()
            cache.set(key, token)
            model.set(text, token)
          } else {
            cache.clear()
            model.clear()
          }
          expect(cache.size).toBe(model.size)
        }
      }),
    )
  })
})
