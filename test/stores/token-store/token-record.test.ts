import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  DamagedRecordError,
  decodeRecord,
  encodeRecord,
} from '../../../src/stores/token-store/token-record.ts'
import { readFixture } from '../../support/stores/gafaelfawr.ts'
import { anInternalToken, aSession, at, NOW, tokenDataAt } from '../../support/tokens/token-data.ts'

const GAFAELFAWR = (await readFixture('decrypted.jsonl'))
  .trim()
  .split('\n')
  .map((line): { redis_key: string; plaintext: string } => JSON.parse(line))

/** A record with all that a reader insists on, changed by `changes`. */
const record = (changes: object = {}): string =>
  JSON.stringify({
    username: 'wren',
    token_type: 'session',
    scopes: ['read:all'],
    created: 1_767_225_600,
    expires: 1_767_312_000,
    token: { key: 'q1w2e3r4t5y6u7i8o9p0aQ', secret: 'Zx-9_Yw8Vu7Ts6Rq5Po4Ng' },
    ...changes,
  })

const decode = (changes: object) => decodeRecord(record(changes), NOW)

/** As a Gafaelfawr at a site with numbers beyond 53 bits writes it: it gives integers no bound. */
const WITH_LARGE_IDS =
  '{"username":"wren","name":null,"email":null,"uid":9007199254740993,"gid":18446744073709551615,"groups":[{"name":"g_53","id":9007199254740991},{"name":"g_54","id":9007199254740992},{"name":"g_64","id":-9223372036854775808},{"name":"g_more","id":100000000000000000000000}],"token_type":"session","service":null,"scopes":["read:all"],"created":1767225600,"expires":null,"token":{"key":"q1w2e3r4t5y6u7i8o9p0aQ","secret":"Zx-9_Yw8Vu7Ts6Rq5Po4Ng"}}'

describe('a record is written', () => {
  it('to the byte as Gafaelfawr writes it', () => {
    const data = anInternalToken({
      username: 'wren',
      userInfo: {
        name: 'Wren Okafor',
        email: null,
        uid: 70_431,
        gid: null,
        groups: [
          { name: 'g_pipeline', id: 81_205 },
          { name: 'wren', id: 70_431 },
        ],
      },
      service: 'image-cutouts',
      scopes: ['exec:portal', 'read:image'],
      expiresAt: at(86_400),
      token: decode({}).token,
    })

    expect(encodeRecord(data)).toBe(
      '{"username":"wren","name":"Wren Okafor","email":null,"uid":70431,"gid":null,"groups":[{"name":"g_pipeline","id":81205},{"name":"wren","id":70431}],"token_type":"internal","service":"image-cutouts","scopes":["exec:portal","read:image"],"created":1767225600,"expires":1767312000,"token":{"key":"q1w2e3r4t5y6u7i8o9p0aQ","secret":"Zx-9_Yw8Vu7Ts6Rq5Po4Ng"}}',
    )
  })

  it.each(GAFAELFAWR)('as a running Gafaelfawr wrote it: $redis_key', ({ plaintext }) => {
    expect(encodeRecord(decodeRecord(plaintext, NOW))).toBe(plaintext)
  })

  it('to the byte as it was read, with numbers of users and groups of any size', () => {
    expect(encodeRecord(decodeRecord(WITH_LARGE_IDS, NOW))).toBe(WITH_LARGE_IDS)
  })

  it('to the byte as it was read, with groups that are absent distinguished from an empty list', () => {
    for (const groups of ['null', '[]']) {
      const written = encodeRecord(aSession()).replace('"groups":null', `"groups":${groups}`)
      expect(encodeRecord(decodeRecord(written, NOW))).toBe(written)
    }
  })

  it('with every field, null for absent values', () => {
    expect(JSON.parse(encodeRecord(aSession({ expiresAt: null })))).toEqual({
      username: 'wren',
      name: null,
      email: null,
      uid: null,
      gid: null,
      groups: null,
      token_type: 'session',
      service: null,
      scopes: ['read:all', 'user:token'],
      created: 1_767_225_600,
      expires: null,
      token: { key: 'parent0000000000000000', secret: 'parent-secret000000000' },
    })
  })

  it('without fields that are not part of a token', () => {
    const group = { name: 'g_x', id: 1, secret: 'no' }
    const data = {
      ...aSession(),
      extra: 'no',
      userInfo: { ...aSession().userInfo, groups: [group], more: 'no' },
    }

    expect(encodeRecord(data)).not.toContain('no"')
  })

  it('in whole seconds', () => {
    const written = JSON.parse(encodeRecord(aSession({ createdAt: at(0.9), expiresAt: at(300.9) })))

    expect(written).toMatchObject({ created: 1_767_225_600, expires: 1_767_225_900 })
  })

  it('and read as it was written, whatever the token', () => {
    fc.assert(
      fc.property(tokenDataAt(NOW), (data) => {
        expect(decodeRecord(encodeRecord(data), NOW)).toEqual(data)
      }),
    )
  })
})

describe('a record is read', () => {
  it('with only its required fields', () => {
    expect(decode({ created: undefined, expires: undefined })).toEqual({
      token: { key: 'q1w2e3r4t5y6u7i8o9p0aQ', secret: 'Zx-9_Yw8Vu7Ts6Rq5Po4Ng' },
      type: 'session',
      username: 'wren',
      userInfo: { name: null, email: null, uid: null, gid: null, groups: null },
      scopes: ['read:all'],
      createdAt: NOW,
      expiresAt: null,
    })
  })

  it.each<[string, object, object]>([
    ['with scopes in any order, more than once', { scopes: ['b', 'a', 'b'] }, { scopes: ['a', 'b'] }],
    ['with scopes joined by commas', { scopes: 'read:tap,read:all' }, { scopes: ['read:all', 'read:tap'] }],
    ['with no scopes as an empty string', { scopes: '' }, { scopes: [] }],
    ['with a time in ISO 8601', { expires: '2026-01-02T00:00:00Z' }, { expiresAt: at(86_400) }],
    ['with a time with an offset', { expires: '2026-01-02T02:00:00+02:00' }, { expiresAt: at(86_400) }],
    ['with a time without a zone, in UTC', { expires: '2026-01-02T00:00:00' }, { expiresAt: at(86_400) }],
    ['with a time and a blank, in UTC', { expires: '2026-01-02 00:00:00' }, { expiresAt: at(86_400) }],
    ['with a time in microseconds', { expires: '2026-01-02T00:00:00.999999' }, { expiresAt: at(86_400) }],
    ['with a day', { expires: '2026-01-02' }, { expiresAt: at(86_400) }],
    ['with a number in a string', { expires: '1767312000' }, { expiresAt: at(86_400) }],
    ['with a fraction of a second', { expires: 1_767_312_000.9 }, { expiresAt: at(86_400) }],
    ['with milliseconds', { expires: 1_767_312_000_123 }, { expiresAt: at(86_400) }],
    [
      'with the last second that is not taken for milliseconds',
      { expires: 2e10 },
      { expiresAt: new Date(2e13) },
    ],
    ['with a time before 1970', { created: -1 }, { createdAt: new Date(-1_000) }],
    ['with fields that nobody knows', { token_name: 'x', last_used: 1, extra: {} }, { username: 'wren' }],
    [
      'with a key and a secret of any length',
      { token: { key: 'k', secret: '' } },
      { token: { key: 'k', secret: '' } },
    ],
    ['with a username that none may choose', { username: '<bootstrap>' }, { username: '<bootstrap>' }],
    ['with a service on a session, which has none', { service: 'tap' }, { type: 'session' }],
    ['with a service of any letters', { token_type: 'internal', service: 'a b/ü' }, { service: 'a b/ü' }],
    ['with a type that only Gafaelfawr makes', { token_type: 'oidc' }, { type: 'oidc' }],
  ])('%s', (_what, changes, expected) => {
    expect(decode(changes)).toMatchObject(expected)
  })

  it('with groups in their order, an empty list distinguished from no list', () => {
    const groups = [
      { name: 'z', id: -5 },
      { name: 'a', id: 0 },
    ]
    expect(decode({ groups }).userInfo.groups).toEqual(groups)
    expect(decode({ groups: [] }).userInfo.groups).toEqual([])
    expect(decode({ groups: null }).userInfo.groups).toBe(null)
  })

  it('with its time in UTC, whatever the time zone of the process', () => {
    const zone = process.env.TZ
    process.env.TZ = 'Pacific/Auckland'
    try {
      expect(decode({ expires: '2026-01-02T00:00:00' }).expiresAt).toEqual(at(86_400))
      expect(decode({ expires: '2026-01-02' }).expiresAt).toEqual(at(86_400))
    } finally {
      if (zone === undefined) delete process.env.TZ
      else process.env.TZ = zone
    }
  })
})

describe('a damaged record is refused with the path of the invalid field', () => {
  it.each<[string, object, string]>([
    ['no username', { username: undefined }, 'username'],
    ['an empty username', { username: '' }, 'username'],
    ['a username of 65 characters', { username: 'x'.repeat(65) }, 'username'],
    ['a username that is a number', { username: 1 }, 'username'],
    ['an empty name', { name: '' }, 'name'],
    ['an empty e-mail address', { email: '' }, 'email'],
    ['a uid of 0', { uid: 0 }, 'uid'],
    ['a uid that a number does not hold exactly, with an exponent', { uid: 1e21 }, 'uid'],
    ['a uid with a fraction', { uid: 1.5 }, 'uid'],
    ['a negative gid', { gid: -1 }, 'gid'],
    ['groups that are a string', { groups: 'a,b' }, 'groups'],
    ['a group without an id', { groups: [{ name: 'g', id: 1 }, { name: 'h' }] }, 'groups.1.id'],
    ['a group without a name', { groups: [{ id: 1 }] }, 'groups.0.name'],
    ['a group with a name that none may have', { groups: [{ name: '_g', id: 1 }] }, 'groups.0.name'],
    ['an unknown type', { token_type: 'admin' }, 'token_type'],
    ['no type', { token_type: undefined }, 'token_type'],
    ['an internal token without a service', { token_type: 'internal' }, 'service'],
    ['an internal token with an empty service', { token_type: 'internal', service: '' }, 'service'],
    ['a service of 65 characters', { service: 'x'.repeat(65) }, 'service'],
    ['no scopes', { scopes: undefined }, 'scopes'],
    ['scopes that are null', { scopes: null }, 'scopes'],
    ['scopes that are a number', { scopes: 5 }, 'scopes'],
    ['a scope that is a number', { scopes: ['a', 5] }, 'scopes'],
    ['an end that is no time', { expires: 'never' }, 'expires'],
    ['an end that is true', { expires: true }, 'expires'],
    ['an end beyond all calendars', { expires: 1e300 }, 'expires'],
    ['a beginning that is no time', { created: '2026-13-45T00:00:00Z' }, 'created'],
    ['no token', { token: undefined }, 'token'],
    ['a token that is a string', { token: 'gt-q1w2e3r4t5y6u7i8o9p0aQ.hunter2' }, 'token'],
    ['a secret that is a number', { token: { key: 'k', secret: 1 } }, 'token.secret'],
    ['no key', { token: { secret: 's' } }, 'token.key'],
  ])('%s', (_what, changes, path) => {
    expect(() => decode(changes)).toThrow(DamagedRecordError)
    expect(() => decode(changes)).toThrow(new RegExp(`^${path.replaceAll('.', '\\.')}: `))
  })

  it.each([
    ['nothing', ''],
    ['text', 'hunter2'],
    ['half a record', record().slice(0, -1)],
    ['null', 'null'],
    ['a list', '[]'],
    ['a number', '17'],
  ])('or for being %s', (_what, json) => {
    expect(() => decodeRecord(json, NOW)).toThrow(DamagedRecordError)
  })

  it('and all its invalid fields are named at once', () => {
    expect(() => decode({ username: '', uid: 0, scopes: 5 })).toThrow(/username: .*uid: .*scopes: /)
  })

  it('and never with its content', () => {
    const SECRET = 'hunter2hunter2'
    const fields = Object.keys(JSON.parse(encodeRecord(aSession())))
    const wrong = fc.constantFrom<unknown>(SECRET, [SECRET], { [SECRET]: SECRET }, { key: SECRET }, [
      { name: SECRET },
    ])
    fc.assert(
      fc.property(fc.dictionary(fc.constantFrom(...fields), wrong), (changes) => {
        try {
          decode(changes)
        } catch (error) {
          expect(error).toBeInstanceOf(DamagedRecordError)
          expect(String((error as Error).stack)).not.toContain('hunter2')
          expect((error as Error).cause).toBe(undefined)
        }
      }),
      { numRuns: 300 },
    )
    expect(() => decodeRecord(`{"token": ${SECRET}`, NOW)).not.toThrow('hunter2')
  })
})
