import { resolve } from 'node:path'
import { inspect } from 'node:util'
import fc from 'fast-check'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { type Config, ConfigError, type Environment, loadConfig } from '../../src/config/config.ts'
import { formatToken, generateToken } from '../../src/domain/token.ts'
import { Fernet, generateFernetKey } from '../../src/lib/fernet.ts'
import { parsePostgresUrl } from '../../src/lib/postgres-url.ts'
import { parseRedisUrl } from '../../src/lib/redis-url.ts'
import { configErrorsOf } from '../support/checks/config-errors.ts'

const KEY = 'AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8='
const OLD_KEY = 'cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4='
const DATABASE_URL = 'postgresql://porthor:hunter2@db.example/porthor'
const REDIS_URL = 'rediss://:hunter3@redis.example:6380/1'
const SENTINEL_URL = 'rediss+sentinel://porthor:x@a.example:26380,b.example/tokens/1?sentinelPassword=y'
const CLUSTER_URL = 'redis+cluster://:x@a.example:7000,b.example:7001'
const TOKEN = 'gt-q1w2e3r4t5y6u7i8o9p0aQ.Zx-9_Yw8Vu7Ts6Rq5Po4Ng'
const SCOPES = '{"admin:token":"Administer","user:token":"Own tokens","x:y":""}'

/** Never delegated, whatever is configured. */
const PLATFORM = ['delegate:token', 'introspect:token']

const undelegable = ({ delegationLimits }: Config) => [...delegationLimits.undelegableScopes]

/** Those of `candidates` that `encryption` has, the one that encrypts first. It does not give its keys away. */
function keysOf(encryption: Fernet, ...candidates: readonly (string | undefined)[]): readonly string[] {
  const now = new Date()
  const encrypted = encryption.encrypt('text', { now })
  const can = (work: () => unknown): boolean => {
    try {
      return work() !== undefined
    } catch {
      return false
    }
  }
  const keys = [KEY, OLD_KEY, ...candidates].filter((key) => key !== undefined)
  const has = (key: string) => can(() => encryption.decrypt(new Fernet([key]).encrypt('text', { now })))
  const isFirst = (key: string) => can(() => new Fernet([key]).decrypt(encrypted))
  return keys.filter(has).toSorted((left, right) => Number(isFirst(right)) - Number(isFirst(left)))
}

/** The least that starts. */
const LEAST: Environment = { DATABASE_URL, SESSION_SECRET: KEY, BOOTSTRAP_TOKEN: 'none' }

const PRODUCTION: Environment = {
  ...LEAST,
  NODE_ENV: 'production',
  SESSION_SECRET: generateFernetKey(),
  BOOTSTRAP_TOKEN: TOKEN,
}

const load = (changes: Environment = {}): Config => loadConfig({ ...LEAST, ...changes })

describe('the defaults', () => {
  it('are those of the contract', () => {
    const { databaseUrl, encryption, knownScopes, ...others } = load()

    expect(databaseUrl.reveal()).toEqual(parsePostgresUrl(DATABASE_URL))
    expect(keysOf(encryption)).toEqual([KEY])
    expect([...knownScopes.keys()]).toEqual(
      expect.arrayContaining(['admin:token', 'user:token', 'delegate:token', 'introspect:token']),
    )
    expect(others).toEqual({
      isProduction: false,
      redisUrl: undefined,
      tokenStore: 'postgres',
      bootstrapToken: undefined,
      tokenLifetime: 30 * 86_400,
      delegatedTokenLifetime: 30 * 86_400,
      delegationLimits: {
        undelegableScopes: new Set(['admin:token', 'delegate:token', 'introspect:token']),
        services: undefined,
        maxDepth: 5,
        maxChildren: 1_000,
      },
      delegationRights: { mode: 'self' },
      delegatedTokensMayCreate: false,
      historyRetention: 365 * 86_400,
      redisReplayWindow: 600,
      redisWaitReplicas: 0,
      tokenCacheSize: 5_000,
      clientSideCache: true,
      trustedProxies: [],
      authFailuresPerMinute: 600,
      publicUrl: undefined,
      host: '127.0.0.1',
      port: 4_000,
      adminPort: undefined,
      adminHost: '127.0.0.1',
      forwardAuth: undefined,
      shutdownDelay: 0,
      logLevel: 'info',
      graphiql: true,
      introspection: 'open',
      suggestions: true,
      dataDir: resolve('.porthor'),
    })
  })

  it('hold for variables that are set but empty', () => {
    const empty = Object.fromEntries(
      [
        'REDIS_URL TOKEN_STORE TOKEN_LIFETIME DELEGATED_TOKEN_LIFETIME KNOWN_SCOPES',
        'UNDELEGABLE_SCOPES DELEGATED_TOKENS_MAY_CREATE DELEGATION_MAX_DEPTH MAX_CHILDREN',
        'HISTORY_RETENTION TOKEN_CACHE_SIZE CLIENT_SIDE_CACHE TRUSTED_PROXIES HOST PORT LOG_LEVEL GRAPHIQL NODE_ENV',
      ]
        .join(' ')
        .split(' ')
        .map((name) => [name, '']),
    )

    expect(load(empty)).toEqual(load())
  })

  it.each([
    ['development', {}, 'open', true],
    ['development without GraphiQL', { GRAPHIQL: 'false' }, 'token', true],
    ['development with INTROSPECTION=true', { GRAPHIQL: 'false', INTROSPECTION: 'true' }, 'open', true],
    ['development with INTROSPECTION=false', { INTROSPECTION: 'false' }, 'off', true],
    ['production', PRODUCTION, 'off', false],
    ['production with GraphiQL', { ...PRODUCTION, GRAPHIQL: 'true' }, 'off', false],
    ['production with INTROSPECTION=true', { ...PRODUCTION, INTROSPECTION: 'true' }, 'open', true],
  ])('for the schema and for suggestions, in %s', (_what, env, introspection, suggestions) => {
    expect(load(env)).toMatchObject({ introspection, suggestions })
  })

  it('of production are without GraphiQL and open to the network', () => {
    expect(loadConfig(PRODUCTION)).toMatchObject({ isProduction: true, graphiql: false, host: '0.0.0.0' })
  })

  it('of the token store follow REDIS_URL', () => {
    expect(load({ REDIS_URL }).tokenStore).toBe('redis')
    expect(load({ REDIS_URL, TOKEN_STORE: 'postgres' }).tokenStore).toBe('postgres')
  })

  it('of the delegated lifetime follow TOKEN_LIFETIME', () => {
    expect(load({ TOKEN_LIFETIME: '1d' }).delegatedTokenLifetime).toBe(86_400)
  })

  it('cannot be changed afterwards', () => {
    expect(load()).toSatisfy(Object.isFrozen)
  })
})

describe('a variable is read', () => {
  it.each<[string, string, (config: Config) => unknown, unknown]>([
    [
      'DATABASE_URL',
      'postgres://db.example/x',
      ({ databaseUrl }) => databaseUrl.reveal(),
      parsePostgresUrl('postgres://db.example/x'),
    ],
    ...[REDIS_URL, 'redis://127.0.0.1', SENTINEL_URL, CLUSTER_URL].map(
      (url): [string, string, (config: Config) => unknown, unknown] => [
        'REDIS_URL',
        url,
        ({ redisUrl }) => redisUrl?.reveal(),
        parseRedisUrl(url),
      ],
    ),
    ['TOKEN_STORE', 'postgres', ({ tokenStore }) => tokenStore, 'postgres'],
    ['SESSION_SECRET', `${KEY},${OLD_KEY}`, ({ encryption }) => keysOf(encryption), [KEY, OLD_KEY]],
    ['SESSION_SECRET', ` ${KEY} ,\n${OLD_KEY}\n`, ({ encryption }) => keysOf(encryption), [KEY, OLD_KEY]],
    [
      'BOOTSTRAP_TOKEN',
      TOKEN,
      ({ bootstrapToken }) => bootstrapToken?.reveal(),
      { key: 'q1w2e3r4t5y6u7i8o9p0aQ', secret: 'Zx-9_Yw8Vu7Ts6Rq5Po4Ng' },
    ],
    ['BOOTSTRAP_TOKEN', 'none', ({ bootstrapToken }) => bootstrapToken, undefined],
    ['TOKEN_LIFETIME', '10m', ({ tokenLifetime }) => tokenLifetime, 600],
    ['DELEGATED_TOKEN_LIFETIME', '1h30m', ({ delegatedTokenLifetime }) => delegatedTokenLifetime, 5_400],
    ['DELEGATED_TOKEN_LIFETIME', '30d', ({ delegatedTokenLifetime }) => delegatedTokenLifetime, 30 * 86_400],
    ['TOKEN_LIFETIME', '36500d', ({ tokenLifetime }) => tokenLifetime, 36_500 * 86_400],
    ['REDIS_REPLAY_WINDOW', '1h', ({ redisReplayWindow }) => redisReplayWindow, 3_600],
    ['REDIS_WAIT_REPLICAS', '2', ({ redisWaitReplicas }) => redisWaitReplicas, 2],
    ['HISTORY_RETENTION', '2w', ({ historyRetention }) => historyRetention, 14 * 86_400],
    ['TOKEN_CACHE_SIZE', '1', ({ tokenCacheSize }) => tokenCacheSize, 1],
    [
      'TRUSTED_PROXIES',
      '10.0.0.0/8, 2001:db8::/32 192.0.2.1',
      ({ trustedProxies }) => trustedProxies,
      ['10.0.0.0/8', '2001:db8::/32', '192.0.2.1'],
    ],
    ['DATA_DIR', '/var/lib/porthor', ({ dataDir }) => dataDir, '/var/lib/porthor'],
    ['DATA_DIR', 'data', ({ dataDir }) => dataDir, resolve('data')],
    ['UNDELEGABLE_SCOPES', ', ', undelegable, ['admin:token', ...PLATFORM]],
    ['HOST', '::1', ({ host }) => host, '::1'],
    ['PUBLIC_URL', 'https://a.example', ({ publicUrl }) => publicUrl, 'https://a.example'],
    ['PUBLIC_URL', 'HTTPS://A.example:443/', ({ publicUrl }) => publicUrl, 'https://a.example'],
    ['PUBLIC_URL', 'http://[::1]:4000/t/', ({ publicUrl }) => publicUrl, 'http://[::1]:4000/t'],
    ['PORT', '0', ({ port }) => port, 0],
    ['PORT', '65535', ({ port }) => port, 65_535],
    ['LOG_LEVEL', 'silent', ({ logLevel }) => logLevel, 'silent'],
    ['CLIENT_SIDE_CACHE', 'false', ({ clientSideCache }) => clientSideCache, false],
    ['GRAPHIQL', 'false', ({ graphiql }) => graphiql, false],
    ['GRAPHIQL', 'OFF', ({ graphiql }) => graphiql, false],
    ['GRAPHIQL', '1', ({ graphiql }) => graphiql, true],
    ['UNDELEGABLE_SCOPES', 'read:all,read:tap', undelegable, ['read:all', 'read:tap', ...PLATFORM]],
    ['UNDELEGABLE_SCOPES', 'none', undelegable, PLATFORM],
    ['DELEGATED_TOKENS_MAY_CREATE', 'true', ({ delegatedTokensMayCreate }) => delegatedTokensMayCreate, true],
    ['DELEGATION_MAX_DEPTH', '50', ({ delegationLimits }) => delegationLimits.maxDepth, 50],
    ['MAX_CHILDREN', '1', ({ delegationLimits }) => delegationLimits.maxChildren, 1],
    [
      'KNOWN_SCOPES',
      SCOPES,
      ({ knownScopes }) => [...knownScopes],
      [
        ['admin:token', 'Administer'],
        ['user:token', 'Own tokens'],
        ['x:y', ''],
      ],
    ],
  ])('%s=%j', (name, value, read, expected) => {
    expect(read(load({ [name]: value }))).toEqual(expected)
  })

  it('GRAPHIQL=true in production', () => {
    expect(loadConfig({ ...PRODUCTION, GRAPHIQL: 'true' }).graphiql).toBe(true)
  })
})

describe('a variable is refused by its name', () => {
  it.each<[string, string]>([
    ['DATABASE_URL', ''],
    ['DATABASE_URL', 'not a URL'],
    ['DATABASE_URL', 'mysql://db.example/porthor'],
    ['DATABASE_URL', 'db.example:5432/porthor'],
    ['DATABASE_URL', 'postgresql://porthor:p/s#s@db.example:5432/porthor'],
    ['PUBLIC_URL', 'a.example'],
    ['PUBLIC_URL', 'ftp://a.example'],
    ['PUBLIC_URL', 'https://'],
    ['PUBLIC_URL', 'https://user:hunter2@a.example'],
    ['PUBLIC_URL', 'https://a.example/?x=1'],
    ['PUBLIC_URL', 'https://a.example/?'],
    ['PUBLIC_URL', 'https://a.example/#x'],
    ['HOST', '[::1]'],
    ['HOST', 'j k'],
    ['HOST', 'http://a.example'],
    ['REDIS_URL', 'http://redis.example'],
    ['REDIS_URL', '127.0.0.1:6379'],
    ['REDIS_URL', 'redis'],
    ['REDIS_URL', 'redis://a.example,b.example'],
    ['REDIS_URL', 'redis+sentinel://:hunter2@a.example'],
    ['REDIS_URL', 'redis+cluster://:hunter2@a.example/1'],
    ['TOKEN_STORE', 'memory'],
    ['TOKEN_STORE', 'Redis'],
    ['SESSION_SECRET', ''],
    ['SESSION_SECRET', 'too-short'],
    ['SESSION_SECRET', KEY.slice(0, -1)],
    ['SESSION_SECRET', `${KEY},${OLD_KEY.slice(1)}`],
    ['SESSION_SECRET', `${KEY};${OLD_KEY}`],
    ['BOOTSTRAP_TOKEN', 'hunter2'],
    ['BOOTSTRAP_TOKEN', TOKEN.slice(0, -1)],
    ['TOKEN_LIFETIME', '599s'],
    ['TOKEN_LIFETIME', '30'],
    ['TOKEN_LIFETIME', 'month'],
    ['TOKEN_LIFETIME', '-1d'],
    ['TOKEN_LIFETIME', '99999999w'],
    ['TOKEN_LIFETIME', '36500d1s'],
    ['DELEGATED_TOKEN_LIFETIME', '599s'],
    ['DELEGATED_TOKEN_LIFETIME', '31d'],
    ['DELEGATED_TOKEN_LIFETIME', '1 d'],
    ['DELEGATED_TOKEN_LIFETIME', '36501d'],
    ['KNOWN_SCOPES', 'read:all'],
    ['KNOWN_SCOPES', '["admin:token","user:token"]'],
    ['KNOWN_SCOPES', 'null'],
    ['KNOWN_SCOPES', '{}'],
    ['KNOWN_SCOPES', '{"admin:token":"x"}'],
    ['KNOWN_SCOPES', '{"user:token":"x"}'],
    ['KNOWN_SCOPES', '{"admin:token":"x","user:token":1}'],
    ['KNOWN_SCOPES', '{"admin:token":"x","user:token":"x","a b":"x"}'],
    ['KNOWN_SCOPES', '{"admin:token":"x","user:token":"x","a,b":"x"}'],
    ['KNOWN_SCOPES', '{"admin:token":"x","user:token":"x","":"x"}'],
    ['UNDELEGABLE_SCOPES', 'admin:tokn'],
    ['UNDELEGABLE_SCOPES', 'admin:token, none'],
    ['DELEGATED_TOKENS_MAY_CREATE', 'yes'],
    ['DELEGATION_MAX_DEPTH', '0'],
    ['DELEGATION_MAX_DEPTH', '51'],
    ['DELEGATION_MAX_DEPTH', '1.5'],
    ['REDIS_REPLAY_WINDOW', '0s'],
    ['REDIS_WAIT_REPLICAS', '11'],
    ['REDIS_WAIT_REPLICAS', '-1'],
    ['MAX_CHILDREN', '0'],
    ['MAX_CHILDREN', '100001'],
    ['MAX_CHILDREN', 'many'],
    ['HISTORY_RETENTION', '0s'],
    ['HISTORY_RETENTION', 'forever'],
    ['HISTORY_RETENTION', '36501d'],
    ['HISTORY_RETENTION', `${'9'.repeat(400)}w`],
    ['TOKEN_CACHE_SIZE', '0'],
    ['TOKEN_CACHE_SIZE', '10000001'],
    ['TOKEN_CACHE_SIZE', '1.5'],
    ['TOKEN_CACHE_SIZE', 'many'],
    ['CLIENT_SIDE_CACHE', 'maybe'],
    ['TRUSTED_PROXIES', 'proxy.example'],
    ['TRUSTED_PROXIES', '10.0.0.0/33'],
    ['TRUSTED_PROXIES', '10.0.0.0/8, 10.0.0.256'],
    ['TRUSTED_PROXIES', '*'],
    ['TRUSTED_PROXIES', '10/8'],
    ['TRUSTED_PROXIES', '10.0/16'],
    ['TRUSTED_PROXIES', '10.0.0.0/8, 10.1'],
    ['TRUSTED_PROXIES', '0x0a000000/8'],
    ['TRUSTED_PROXIES', '167772161'],
    ['TRUSTED_PROXIES', '10.0.0.0/255.0.0.0'],
    ['TRUSTED_PROXIES', '10.0.0.0/'],
    ['TRUSTED_PROXIES', '10.0.0.0/8/8'],
    ['TRUSTED_PROXIES', '2001:db8::/129'],
    ['TRUSTED_PROXIES', 'loopback'],
    ['TRUSTED_PROXIES', '10.0.0.1/8'],
    ['TRUSTED_PROXIES', '2001:db8::1/32'],
    ['NODE_ENV', 'prod'],
    ['NODE_ENV', 'Production'],
    ['NODE_ENV', 'production '],
    ['PORT', '-1'],
    ['PORT', '65536'],
    ['PORT', 'http'],
    ['PORT', '40.5'],
    ['PORT', ' '],
    ['LOG_LEVEL', 'loud'],
    ['GRAPHIQL', 'yes please'],
    ['GRAPHIQL', 'constructor'],
  ])('%s=%j', (name, value) => {
    expect(configErrorsOf({ ...LEAST, [name]: value })).toEqual([expect.stringMatching(`^${name}\\b`)])
  })

  it.each([
    ['DATABASE_URL', 'postgresql://porthor:p/s#s@db.example:5432/porthor', 'written as %2F %3F %23'],
    ['HOST', '[::1]', ':: (without brackets)'],
    ['KNOWN_SCOPES', '{"admin:token":"x","user:token":"x","a b":"x"}', 'entry 3 is not valid'],
    ['KNOWN_SCOPES', '{"admin:token":"x","user:token":"x"', 'it is not JSON'],
    ['KNOWN_SCOPES', 'null', 'it is not an object'],
    ['KNOWN_SCOPES', '{"admin:token":"x"}', 'user:token is missing'],
    ['TRUSTED_PROXIES', '10.0.0.0/8, 10.0.0.256, 10.1', 'entry 2 is neither'],
  ])('%s=%j, with what is wrong in it', (name, value, reason) => {
    expect(configErrorsOf({ ...LEAST, [name]: value })).toEqual([expect.stringContaining(reason)])
  })

  it('SESSION_SECRET is reported as missing only where it is missing', () => {
    expect(configErrorsOf({ ...LEAST, SESSION_SECRET: '' })).toEqual([
      expect.stringMatching(/ is required: /),
    ])
    expect(configErrorsOf({ ...LEAST, SESSION_SECRET: 'abc' })).toEqual([expect.stringMatching(/ must be /)])
  })

  it.each(['development', 'test', 'staging'])('NODE_ENV=%s is not', (NODE_ENV) => {
    expect(configErrorsOf({ ...LEAST, NODE_ENV })).toEqual([])
  })

  it('REDIS_URL, where the token store is Redis and there is none', () => {
    expect(configErrorsOf({ ...LEAST, TOKEN_STORE: 'redis' })).toEqual([
      expect.stringMatching(/^REDIS_URL is required/),
    ])
  })
})

const ALL_FAULTY: Environment = {
  DATABASE_URL: 'mysql://porthor:hunter2@db.example',
  REDIS_URL: 'http://:hunter3@redis.example',
  TOKEN_STORE: 'hunter4',
  SESSION_SECRET: 'hunter5',
  BOOTSTRAP_TOKEN: 'gt-hunter6.hunter6',
  TOKEN_LIFETIME: 'hunter7',
  DELEGATED_TOKEN_LIFETIME: 'hunter8',
  KNOWN_SCOPES: 'hunter9',
  HISTORY_RETENTION: 'hunter10',
  TOKEN_CACHE_SIZE: 'hunter11',
  TRUSTED_PROXIES: 'hunter12',
  PORT: 'hunter13',
  LOG_LEVEL: 'hunter14',
  GRAPHIQL: 'hunter15',
  CLIENT_SIDE_CACHE: 'hunter16',
}

describe('the faults', () => {
  it('are reported all at once, each variable by its name', () => {
    const named = configErrorsOf(ALL_FAULTY).map((fault) => fault.split(' ')[0])

    expect(named.toSorted()).toEqual(Object.keys(ALL_FAULTY).toSorted())
    expect(() => loadConfig(ALL_FAULTY)).toThrow(/^The configuration has 15 errors:\n {2}- DATABASE_URL must/)
  })

  it('are only those that are there: what depends on a faulty variable is no fault of its own', () => {
    const env = { ...LEAST, TOKEN_LIFETIME: 'long', DELEGATED_TOKEN_LIFETIME: '1d' }

    expect(configErrorsOf(env)).toEqual([expect.stringMatching(/^TOKEN_LIFETIME/)])
  })

  it('do not repeat what the variables hold', () => {
    expect(() => loadConfig(ALL_FAULTY)).not.toThrow(/hunter/)
    expect(
      inspect(new ConfigError(configErrorsOf(ALL_FAULTY)), { depth: 9, showHidden: true }),
    ).not.toContain('hunter')
  })

  it('never contain a secret, whatever is wrong with it', () => {
    const value = fc.string({ minLength: 12 }).filter((text) => text.trim().length > 11)
    fc.assert(
      fc.property(value, (secret) => {
        const faults = configErrorsOf({
          DATABASE_URL: secret,
          REDIS_URL: secret,
          SESSION_SECRET: secret,
          BOOTSTRAP_TOKEN: secret,
        })
        expect(faults).toHaveLength(4)
        expect(faults.join('\n')).not.toContain(secret)
      }),
    )
  })

  it('of an empty environment are what must be there', () => {
    expect(configErrorsOf({})).toEqual([
      expect.stringMatching(/^DATABASE_URL is required/),
      expect.stringMatching(/^SESSION_SECRET is required/),
      expect.stringMatching(/^BOOTSTRAP_TOKEN is required/),
    ])
  })

  it('of an empty production are what must be there', () => {
    expect(configErrorsOf({ NODE_ENV: 'production' })).toEqual([
      expect.stringMatching(/^DATABASE_URL is required/),
      expect.stringMatching(/^SESSION_SECRET is required/),
      expect.stringMatching(/^BOOTSTRAP_TOKEN is required/),
    ])
  })
})

it('production starts without a bootstrap token only with BOOTSTRAP_TOKEN=none', () => {
  expect(configErrorsOf({ ...PRODUCTION, BOOTSTRAP_TOKEN: undefined })).toHaveLength(1)
  expect(loadConfig({ ...PRODUCTION, BOOTSTRAP_TOKEN: 'none' }).bootstrapToken).toBe(undefined)
})

it.each([
  ['JSON', (config: Config) => JSON.stringify(config)],
  ['util.inspect', (config: Config) => inspect(config, { depth: 9, showHidden: true })],
  ['a copy', (config: Config) => JSON.stringify({ ...config })],
])('a configuration shows none of its secrets to %s', (_how, tell) => {
  const told = tell(load({ REDIS_URL, BOOTSTRAP_TOKEN: TOKEN }))

  for (const secret of [KEY, 'hunter2', 'hunter3', 'Zx-9_Yw8Vu7Ts6Rq5Po4Ng'])
    expect(told).not.toContain(secret)
})

it('the environment of the process is not read', () => {
  vi.stubEnv('PORT', '4711')
  onTestFinished(() => {
    vi.unstubAllEnvs()
  })

  expect(load().port).toBe(4_000)
})

describe('in production a secret that anybody can guess is refused, and elsewhere it is not', () => {
  it.each([
    ['SESSION_SECRET', 'of zeros', `${'A'.repeat(43)}=`],
    ['SESSION_SECRET', 'of one byte', `${Buffer.alloc(32, 0x5a).toString('base64')}`],
    ['SESSION_SECRET', 'that counts up', KEY],
    ['SESSION_SECRET', 'of the specification of Fernet', OLD_KEY],
    ['SESSION_SECRET', 'behind one that is none', `${generateFernetKey()},${OLD_KEY}`],
    ['BOOTSTRAP_TOKEN', 'of one letter', `gt-${'a'.repeat(22)}.${'a'.repeat(22)}`],
    ['BOOTSTRAP_TOKEN', 'of few digits', `gt-q1w2e3r4t5y6u7i8o9p0aQ.${'012345678'.repeat(3).slice(0, 22)}`],
    ['BOOTSTRAP_TOKEN', 'of the alphabet', 'gt-q1w2e3r4t5y6u7i8o9p0aQ.abcdefghijklmnopqrstuv'],
  ])('%s %s', (name, _what, secret) => {
    const faults = configErrorsOf({ ...PRODUCTION, [name]: secret })
    expect(faults).toEqual([expect.stringMatching(new RegExp(`^${name} must not be guessable`))])
    expect(faults.join()).not.toContain(secret)
    expect(configErrorsOf({ ...LEAST, [name]: secret })).toEqual([])
  })

  it('and one that was drawn at random passes', () => {
    for (let time = 0; time < 2_000; time += 1) {
      const env = { SESSION_SECRET: generateFernetKey(), BOOTSTRAP_TOKEN: formatToken(generateToken()) }
      expect(configErrorsOf({ ...PRODUCTION, ...env })).toEqual([])
    }
  })
})

it.each([
  ['DATABASE_URL', DATABASE_URL],
  ['REDIS_URL', REDIS_URL],
  ['SESSION_SECRET', PRODUCTION.SESSION_SECRET],
  ['BOOTSTRAP_TOKEN', TOKEN],
  ['BOOTSTRAP_TOKEN', 'none'],
])('white space and line ends around %s are ignored', (name, value) => {
  const env = { ...PRODUCTION, REDIS_URL }
  const read = (changes: Environment) => {
    const { databaseUrl, redisUrl, encryption, bootstrapToken } = loadConfig({ ...env, ...changes })
    const secrets = [databaseUrl, redisUrl, bootstrapToken].map((secret) => secret?.reveal())
    return [...secrets, keysOf(encryption, PRODUCTION.SESSION_SECRET)]
  }
  for (const [before, after] of [
    ['', '\n'],
    [' \t', '\r\n'],
    ['\n', ' '],
  ] as const) {
    expect(read({ [name]: `${before}${value}${after}` })).toEqual(read({ [name]: value }))
  }
})
