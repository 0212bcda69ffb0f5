import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseRedisUrl, RedisUrlError } from '../../src/lib/redis-url.ts'

const plain = { hasTls: false, credentials: undefined }
const single = { ...plain, kind: 'single', address: { host: 'redis.example', port: 6379 }, database: 0 }
const sentinel = {
  ...plain,
  kind: 'sentinel',
  sentinels: [{ host: 'a.example', port: 26379 }],
  sentinelCredentials: undefined,
  masterName: 'tokens',
  database: 0,
}
const cluster = { ...plain, kind: 'cluster', nodes: [{ host: 'a.example', port: 6379 }] }

describe('a Redis URL is read', () => {
  it.each<[string, string, unknown]>([
    ['one server', 'redis://redis.example', single],
    ['a port', 'redis://redis.example:6380', { ...single, address: { host: 'redis.example', port: 6380 } }],
    ['an empty path', 'redis://redis.example/', single],
    ['a database', 'redis://redis.example/12', { ...single, database: 12 }],
    ['an IPv4 address', 'redis://192.0.2.7:1', { ...single, address: { host: '192.0.2.7', port: 1 } }],
    ['an IPv6 address', 'redis://[2001:db8::7]:2', { ...single, address: { host: '2001:db8::7', port: 2 } }],
    ['a name of a container', 'redis://my_redis', { ...single, address: { host: 'my_redis', port: 6379 } }],
    ['TLS', 'rediss://redis.example', { ...single, hasTls: true }],
    ['capitals', 'REDISS://redis.example', { ...single, hasTls: true }],
    ['a password', 'redis://:hunter2@redis.example', { ...single, credentials: { password: 'hunter2' } }],
    [
      'a user',
      'redis://wren:hunter2@redis.example',
      { ...single, credentials: { username: 'wren', password: 'hunter2' } },
    ],
    [
      'a user without a password',
      'redis://wren:@redis.example',
      { ...single, credentials: { username: 'wren', password: '' } },
    ],
    [
      'credentials that are encoded',
      'redis://w%40ren:a%2Fb%3a+%25@redis.example',
      { ...single, credentials: { username: 'w@ren', password: 'a/b:+%' } },
    ],
    [
      'credentials with characters that need not be encoded',
      'redis://wren:a:b,c@redis.example',
      { ...single, credentials: { username: 'wren', password: 'a:b,c' } },
    ],
    ['a Sentinel', 'redis+sentinel://a.example/tokens', sentinel],
    ['a Sentinel and an empty database', 'redis+sentinel://a.example/tokens/', sentinel],
    ['a Sentinel and a database', 'redis+sentinel://a.example/tokens/3', { ...sentinel, database: 3 }],
    [
      'several Sentinels',
      'redis+sentinel://a.example,b.example:1,[::1]/my-master.1_x',
      {
        ...sentinel,
        sentinels: [
          { host: 'a.example', port: 26379 },
          { host: 'b.example', port: 1 },
          { host: '::1', port: 26379 },
        ],
        masterName: 'my-master.1_x',
      },
    ],
    [
      'Sentinels and Redis with credentials of their own, and TLS',
      'rediss+sentinel://wren:hunter2@a.example/tokens?sentinelUsername=w%26s&sentinelPassword=a+b=%3d',
      {
        ...sentinel,
        hasTls: true,
        credentials: { username: 'wren', password: 'hunter2' },
        sentinelCredentials: { username: 'w&s', password: 'a+b==' },
      },
    ],
    [
      'Sentinels with a password only',
      'redis+sentinel://a.example/tokens?sentinelPassword=hunter3',
      { ...sentinel, sentinelCredentials: { password: 'hunter3' } },
    ],
    ['a cluster', 'redis+cluster://a.example', cluster],
    ['a cluster and the only database there is', 'redis+cluster://a.example/0', cluster],
    [
      'a cluster by several nodes, with TLS and a user',
      'rediss+cluster://wren:hunter2@a.example:7000,b.example:7001/',
      {
        ...cluster,
        hasTls: true,
        credentials: { username: 'wren', password: 'hunter2' },
        nodes: [
          { host: 'a.example', port: 7000 },
          { host: 'b.example', port: 7001 },
        ],
      },
    ],
  ])('with %s', (_what, text, expected) => {
    expect(parseRedisUrl(text)).toEqual(expected)
  })
})

describe('a Redis URL is refused', () => {
  const BEGINNING = /^must be a URL that begins with/
  const HOSTS = /^must name each server as host or host:port/
  const DATABASE = /^must have a database number/
  const PARAMETERS = /^must not have parameters \(/
  const SENTINEL_PARAMETERS = /^must not have parameters other than sentinelPassword/

  it.each<[string, string, RegExp]>([
    ['nothing', '', BEGINNING],
    ['no scheme', 'redis.example:6379', BEGINNING],
    ['another scheme', 'http://redis.example', BEGINNING],
    ['another kind', 'redis+socket://redis.example', BEGINNING],
    ['a kind in the wrong place', 'redis+rediss://redis.example', BEGINNING],
    ['one slash', 'redis:/redis.example', BEGINNING],
    ['a line end', 'redis://redis.example\n', BEGINNING],
    ['a space before it', ' redis://redis.example', BEGINNING],
    ['a space within', 'redis://a.example, b.example', BEGINNING],
    ['a fragment', 'redis://redis.example#1', BEGINNING],
    ['a # in a password', 'redis://:a#b@redis.example', BEGINNING],
    ['no host', 'redis://', HOSTS],
    ['no host before a path', 'redis:///1', HOSTS],
    ['no host after credentials', 'redis://:hunter2@', HOSTS],
    ['a port alone', 'redis://:6379', HOSTS],
    ['a colon without a port', 'redis://redis.example:', HOSTS],
    ['port 0', 'redis://redis.example:0', HOSTS],
    ['a port too high', 'redis://redis.example:65536', HOSTS],
    ['a port in words', 'redis://redis.example:redis', HOSTS],
    ['a host in other letters', 'redis://rédis.example', HOSTS],
    ['a host that is encoded', 'redis://redis%2Eexample', HOSTS],
    ['an IPv6 address without brackets', 'redis://2001:db8::7', HOSTS],
    ['no IPv6 address in brackets', 'redis://[redis.example]', HOSTS],
    ['a / in a password', 'redis://:a/b@redis.example', HOSTS],
    ['a comma at the end', 'redis+cluster://a.example,', HOSTS],
    ['two commas', 'redis+cluster://a.example,,b.example', HOSTS],
    [
      'credentials for the second host',
      'redis+cluster://a.example,:hunter2@b.example',
      /^must have credentials once/,
    ],
    ['an @ in a password', 'redis://:a@b@redis.example', /^must have credentials once/],
    ['credentials for each host', 'redis+cluster://:x@a.example,:x@b.example', /^must have credentials once/],
    ['several servers', 'redis://a.example,b.example', /^must name one server/],
    ['a user without a colon', 'redis://hunter2@redis.example', /user:password@ or :password@/],
    ['a % that encodes nothing', 'redis://:100%@redis.example', /percent-encoded/],
    ['a database in words', 'redis://redis.example/tokens', DATABASE],
    ['a database below zero', 'redis://redis.example/-1', DATABASE],
    ['a path of two pieces', 'redis://redis.example/1/2', DATABASE],
    ['parameters', 'redis://redis.example?db=2', PARAMETERS],
    ['an empty query', 'redis://redis.example?', PARAMETERS],
    ['parameters of a cluster', 'redis+cluster://a.example?sentinelPassword=x', PARAMETERS],
    ['a numbered database of a cluster', 'redis+cluster://a.example/1', /a cluster has one database only/],
    ['a Sentinel without a master', 'redis+sentinel://a.example', /^must name the master/],
    ['a Sentinel with an empty master', 'redis+sentinel://a.example//1', /^must name the master/],
    ['a master with other characters', 'redis+sentinel://a.example/my%20master', /^must name the master/],
    ['a Sentinel and a database in words', 'redis+sentinel://a.example/tokens/x', DATABASE],
    ['a Sentinel and three pieces', 'redis+sentinel://a.example/tokens/1/', DATABASE],
    ['a Sentinel user alone', 'redis+sentinel://a.example/m?sentinelUsername=x', SENTINEL_PARAMETERS],
    [
      'an unknown parameter',
      'redis+sentinel://a.example/m?sentinelPassword=x&role=slave',
      SENTINEL_PARAMETERS,
    ],
    ['an unknown parameter alone', 'redis+sentinel://a.example/m?db=2', SENTINEL_PARAMETERS],
    ['an empty Sentinel query', 'redis+sentinel://a.example/m?', SENTINEL_PARAMETERS],
    ['a parameter without a value', 'redis+sentinel://a.example/m?sentinelPassword', SENTINEL_PARAMETERS],
    [
      'a parameter twice',
      'redis+sentinel://a.example/m?sentinelPassword=x&sentinelPassword=y',
      SENTINEL_PARAMETERS,
    ],
    ['a parameter wrongly encoded', 'redis+sentinel://a.example/m?sentinelPassword=%', /percent-encoded/],
  ])('for %s', (_what, text, message) => {
    expect(() => parseRedisUrl(text)).toThrow(RedisUrlError)
    expect(() => parseRedisUrl(text)).toThrow(message)
  })

  it('with no word of what it held', () => {
    const secret = fc.stringMatching(/^[!-~]{9,}$/)
    const form = fc.constantFrom(
      (text: string) => `redis://:${text}@redis.example/x`,
      (text: string) => `redis+sentinel://:${text}@redis.example`,
      (text: string) => `redis+sentinel://redis.example/m?${text}=${text}`,
      (text: string) => `redis+cluster://${text}@redis.example/1`,
      (text: string) => `${text}://redis.example`,
    )
    fc.assert(
      fc.property(secret, form, (text, build) => {
        let message = ''
        try {
          parseRedisUrl(build(text))
        } catch (error) {
          message = (error as Error).message
        }
        expect(message).toMatch(/^must /)
        expect(message).not.toContain(text)
      }),
    )
  })
})

it('credentials of any kind come back as they were encoded', () => {
  const text = fc.string({ unit: 'grapheme' })
  fc.assert(
    fc.property(text.filter(Boolean), text, (username, password) => {
      const [user, pass] = [encodeURIComponent(username), encodeURIComponent(password)]
      const expected = { username, password }

      expect(parseRedisUrl(`redis://${user}:${pass}@a`)).toMatchObject({ credentials: expected })
      expect(
        parseRedisUrl(`redis+sentinel://a/m?sentinelUsername=${user}&sentinelPassword=${pass}`),
      ).toMatchObject({ sentinelCredentials: expected })
    }),
  )
})
