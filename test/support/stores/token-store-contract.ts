import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { TokenData, TokenKey } from '../../../src/domain/token.ts'
import { Fernet, generateFernetKey } from '../../../src/lib/fernet.ts'
import { EncryptedRecords } from '../../../src/stores/token-store/encrypted-records.ts'
import { encodeRecord } from '../../../src/stores/token-store/token-record.ts'
import type { TokenStore } from '../../../src/stores/token-store/token-store.ts'
import { recordingLog } from '../checks/log.ts'
import type { LogLine } from '../porthor/porthor.ts'
import { anInternalToken, aSession, aToken, at, NOW, tokenDataAt } from '../tokens/token-data.ts'
import { TestClock } from '../waiting/test-clock.ts'

/** What an implementation is built from. */
export interface TokenStoreInput {
  readonly records: EncryptedRecords
  readonly clock: TestClock
}

/** An implementation on a store that is empty, and a way to its values past it. */
export interface OpenTokenStore {
  readonly store: TokenStore
  /** The encrypted value under `key`, if any. */
  readonly read: (key: TokenKey) => Promise<string | null>
  /** Puts `value` under `key`, for ever, as a restored backup or another program might. */
  readonly write: (key: TokenKey, value: string) => Promise<void>
  readonly close: () => Promise<void>
}

export interface TokenStoreContract extends OpenTokenStore {
  readonly clock: TestClock
  readonly logLines: LogLine[]
}

/** The key that all implementations here encrypt with, and one that they decrypt with too. */
const KEYS = [generateFernetKey(), generateFernetKey()]
const fernet = new Fernet(KEYS)

/**
 * What every TokenStore promises: run by the test file of each implementation.
 *
 * @returns What is open, inside of tests.
 */
export function tokenStoreContract(
  open: (input: TokenStoreInput) => Promise<OpenTokenStore>,
): () => TokenStoreContract {
  let opened: TokenStoreContract

  beforeEach(async () => {
    const clock = new TestClock(NOW)
    const { log, lines: logLines } = recordingLog()
    const records = new EncryptedRecords({ fernet, clock, log })
    opened = { ...(await open({ records, clock })), clock, logLines }
  })
  afterEach(() => opened.close())

  describe('a token', () => {
    it('is read as it was written, whatever its type and attributes', async () => {
      await fc.assert(
        fc.asyncProperty(tokenDataAt(NOW), async (data) => {
          await opened.store.put(data)
          expect(await opened.store.find(data.token.key)).toEqual(data)
        }),
        { numRuns: 50 },
      )
    })

    it.each([
      ['a key of the right form', 'q1w2e3r4t5y6u7i8o9p0aQ'],
      ['a key with characters that no key has', '*?[a]%_ \'"\\;é🦉'],
      ['an empty key', ''],
    ])('is not found under %s that was never written', async (_what, key) => {
      await opened.store.put(aSession())
      expect(await opened.store.find(key as TokenKey)).toBe(undefined)
    })

    it('is replaced by another one that is written under the same key', async () => {
      const first = aSession({ expiresAt: at(500) })
      const second = anInternalToken({ token: { ...first.token, secret: aToken('another').secret } })
      await opened.store.put(first)
      await opened.store.put(second)
      expect(await opened.store.find(first.token.key)).toEqual(second)
    })

    it('can get a later, an earlier and no expiry', async () => {
      const { key } = aSession().token
      for (const expiresAt of [at(500), at(5_000), null, at(50)]) {
        await opened.store.put(aSession({ expiresAt }))
        opened.clock.advance(10)
        expect(await opened.store.find(key)).toEqual(aSession({ expiresAt }))
      }
    })

    it('is found until its last second, and not when it has expired', async () => {
      const data = aSession({ expiresAt: at(100) })
      await opened.store.put(data)
      opened.clock.advance(99)
      expect(await opened.store.find(data.token.key)).toEqual(data)
      opened.clock.advance(1)
      expect(await opened.store.find(data.token.key)).toBe(undefined)
    })

    it('expires by its record and the clock if the store has lost its expiry', async () => {
      const data = aSession({ expiresAt: at(100) })
      await opened.store.put(data)
      await opened.write(data.token.key, (await opened.read(data.token.key)) ?? '')
      opened.clock.advance(99)
      expect(await opened.store.find(data.token.key)).toEqual(data)
      opened.clock.advance(1)
      expect(await opened.store.find(data.token.key)).toBe(undefined)
      expect(opened.logLines).toEqual([])
    })

    it('without an expiry does not expire', async () => {
      const data = aSession({ expiresAt: null })
      await opened.store.put(data)
      opened.clock.advance(100 * 365 * 86_400)
      expect(await opened.store.find(data.token.key)).toEqual(data)
    })

    it.each([
      ['in this very second', 0],
      ['long ago', -86_400],
    ])('that has expired %s is refused and not stored', async (_what, seconds) => {
      const data = aSession({ expiresAt: at(seconds) })
      await expect(opened.store.put(data)).rejects.toThrow(RangeError)
      expect(await opened.read(data.token.key)).toBe(null)
    })
  })

  describe('what is stored', () => {
    it('is the record shared with Gafaelfawr, encrypted with the first key', async () => {
      const data = anInternalToken()
      await opened.store.put(data)
      const encrypted = (await opened.read(data.token.key)) ?? ''
      expect(new Fernet(KEYS.slice(0, 1)).decrypt(encrypted)).toBe(encodeRecord(data))
      expect(Buffer.from(encrypted, 'base64url').readBigUInt64BE(1)).toBe(BigInt(NOW.getTime() / 1000))
    })

    it('may have been encrypted with an older key', async () => {
      const data = aSession()
      const older = new Fernet(KEYS.slice(1))
      await opened.write(data.token.key, older.encrypt(encodeRecord(data), { now: NOW }))
      expect(await opened.store.find(data.token.key)).toEqual(data)
    })

    it('is no token if it is empty, and nothing is logged', async () => {
      await opened.write(aSession().token.key, '')
      expect(await opened.store.find(aSession().token.key)).toBe(undefined)
      expect(opened.logLines).toEqual([])
    })

    const json = encodeRecord(aSession())
    const seal = (text: string) => fernet.encrypt(text, { now: NOW })
    it.each([
      ['is not encrypted', json, 'not URL-safe base64'],
      ['is cut short', seal(json).slice(0, 40), 'too short'],
      [
        'was encrypted with a foreign key',
        new Fernet([generateFernetKey()]).encrypt(json, { now: NOW }),
        'not signed with any of the keys',
      ],
      ['is not JSON', seal('parent-secret000000000'), 'not JSON'],
      ['lacks a field', seal(json.replace('"username":"wren",', '')), 'username: invalid_type'],
      [
        'has the whole token in the wrong place',
        seal(json.replace(/"token":\{.*\}\}/, '"token":"gt-parent.parent-secret000000000"}')),
        'token: invalid_type',
      ],
      [
        'belongs to another key',
        seal(encodeRecord(aSession({ token: { ...aSession().token, key: aToken('other').key } }))),
        'token.key: not the key it is stored under',
      ],
    ])('is no token if it %s, and that is logged without its content', async (_what, value, fault) => {
      const { key } = aSession().token
      await opened.write(key, value)
      expect(await opened.store.find(key)).toBe(undefined)
      expect(opened.logLines).toEqual([
        {
          level: 50,
          time: expect.any(String),
          msg: 'token store record is damaged',
          tokenKey: key,
          reason: fault,
        },
      ])
    })

    it('is repaired by a token that is written in its place', async () => {
      const data = aSession()
      await opened.write(data.token.key, 'damaged')
      await opened.store.put(data)
      expect(await opened.store.find(data.token.key)).toEqual(data)
    })
  })

  describe('replacing', () => {
    const data = aSession()
    const { key } = data.token
    const narrowed = { ...data, scopes: [], expiresAt: at(600) }

    const recordOf = async () => {
      const record = await opened.store.findRecord(key)
      if (!record) throw new Error('there is no record')
      return record
    }

    it.each([
      ['an expiry', narrowed],
      ['no expiry', { ...data, expiresAt: null }],
    ])('writes a token with %s in place of the record that was read', async (_what, next) => {
      await opened.store.put(data)
      const record = await recordOf()
      expect(record).toEqual({ data, encrypted: await opened.read(key) })
      await opened.store.replace(record, next)
      expect(await opened.store.find(key)).toEqual(next)
    })

    it('changes nothing if the token was deleted since', async () => {
      await opened.store.put(data)
      const record = await recordOf()
      await opened.store.delete([key])
      await expect(opened.store.replace(record, narrowed)).rejects.toMatchObject({ code: 'UNAVAILABLE' })
      expect(await opened.read(key)).toBe(null)
    })

    it('changes nothing if the token was written since, even with the same attributes', async () => {
      await opened.store.put(data)
      const record = await recordOf()
      await opened.store.replace(record, data)
      const written = await opened.read(key)
      await expect(opened.store.replace(record, narrowed)).rejects.toMatchObject({ code: 'UNAVAILABLE' })
      expect(await opened.read(key)).toBe(written)
    })

    it('refuses a token that has expired, and keeps the record', async () => {
      await opened.store.put(data)
      await expect(opened.store.replace(await recordOf(), { ...data, expiresAt: NOW })).rejects.toThrow(
        RangeError,
      )
      expect(await opened.store.find(key)).toEqual(data)
    })

    it('finds no record of a token that does not exist, is damaged or has expired', async () => {
      expect(await opened.store.findRecord(key)).toBe(undefined)
      await opened.write(key, 'damaged')
      expect(await opened.store.findRecord(key)).toBe(undefined)
      await opened.store.put(narrowed)
      opened.clock.advance(600)
      expect(await opened.store.findRecord(key)).toBe(undefined)
    })
  })

  describe('deleting', () => {
    const many = (count: number): TokenData[] =>
      Array.from({ length: count }, (_, index) => aSession({ token: aToken(`token-${index}-`) }))

    it('deletes the given tokens, and no others', async () => {
      const [kept, ...gone] = many(3)
      if (!kept) throw new Error('three tokens')
      for (const data of [kept, ...gone]) await opened.store.put(data)
      await opened.store.delete(gone.map(({ token }) => token.key))
      expect(await opened.store.find(kept.token.key)).toEqual(kept)
      for (const { token } of gone) expect(await opened.read(token.key)).toBe(null)
    })

    it('deletes any number of tokens', async () => {
      const keys = many(601).map(({ token }) => token.key)
      await Promise.all(keys.map((key) => opened.write(key, 'damaged')))
      await opened.store.delete(keys)
      expect(await opened.store.inspect(keys)).toEqual(new Map())
    })

    it('ignores a missing key, a second call and an empty list', async () => {
      const data = aSession()
      await opened.store.put(data)
      await opened.store.delete([])
      await opened.store.delete([aToken('unknown').key])
      expect(await opened.store.find(data.token.key)).toEqual(data)
      await opened.store.delete([data.token.key])
      await opened.store.delete([data.token.key, data.token.key])
      expect(await opened.store.find(data.token.key)).toBe(undefined)
    })

    it('deletes a damaged record too', async () => {
      const { key } = aSession().token
      await opened.write(key, 'damaged')
      await opened.store.delete([key])
      expect(await opened.read(key)).toBe(null)
    })
  })

  describe('scanning all records', () => {
    const scan = async () => {
      const keys: TokenKey[] = []
      for await (const batch of opened.store.scan()) keys.push(...batch)
      return keys.sort()
    }

    it('yields each key once, those of damaged records too, for any number of records', async () => {
      const all = Array.from({ length: 1_100 }, (_, index) => aToken(`token-${index}-`).key).sort()
      await Promise.all(all.map((key) => opened.write(key, 'damaged')))

      expect(await scan()).toEqual(all)
    })

    it('yields nothing from an empty store', async () => {
      expect(await scan()).toEqual([])
    })

    it('inspects valid, expired and damaged records, and logs nothing', async () => {
      const live = aSession({ token: aToken('live'), expiresAt: null })
      const ended = aSession({ token: aToken('ended'), expiresAt: at(100) })
      await opened.store.put(live)
      await opened.store.put(ended)
      await opened.write(aToken('damaged').key, 'damaged')
      await opened.write(aToken('empty').key, '')
      await opened.store.put(aSession({ token: aToken('not-asked-for') }))
      opened.clock.advance(100)
      const keys = ['live', 'ended', 'damaged', 'empty', 'absent'].map((name) => aToken(name).key)

      expect(await opened.store.inspect(keys)).toEqual(
        new Map<TokenKey, unknown>([
          [live.token.key, { data: live }],
          [ended.token.key, { data: ended }],
          [aToken('damaged').key, { fault: 'not URL-safe base64' }],
        ]),
      )
      expect(await opened.store.inspect([])).toEqual(new Map())
      expect(opened.logLines).toEqual([])
    })
  })

  it('sweeping deletes no valid token', async () => {
    const endless = aSession({ token: aToken('endless'), expiresAt: null })
    const live = aSession({ token: aToken('live'), expiresAt: at(101) })
    await opened.store.put(endless)
    await opened.store.put(live)
    opened.clock.advance(100)
    await opened.store.sweep()

    expect(await opened.store.find(endless.token.key)).toEqual(endless)
    expect(await opened.store.find(live.token.key)).toEqual(live)
  })

  it('responds to a ping', async () => {
    await expect(opened.store.ping()).resolves.toBe(undefined)
  })

  return () => opened
}
