import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { type Environment, loadConfig } from '../../src/config/config.ts'
import { generateFernetKey } from '../../src/lib/fernet.ts'
import { configErrorsOf } from '../support/checks/config-errors.ts'

const LEAST: Environment = {
  DATABASE_URL: 'postgresql://porthor:x@db.example/porthor',
  SESSION_SECRET: generateFernetKey(),
  BOOTSTRAP_TOKEN: 'none',
  AUTH_PORT: '4001',
}

const load = (changes: Environment) => loadConfig({ ...LEAST, ...changes }).forwardAuth

const policyOf = (policy: object) => load({ AUTH_POLICIES: JSON.stringify({ a: policy }) })?.policies.get('a')

const errorsOf = (changes: Environment) => configErrorsOf({ ...LEAST, ...changes })

const errorsOfPolicy = (policy: unknown) =>
  errorsOf({ AUTH_POLICIES: JSON.stringify({ a: policy }) }).map((error) =>
    error.replace('AUTH_POLICIES policy "a": ', ''),
  )

describe('a policy', () => {
  it('without members lets every holder of a valid token pass, with the Authorization header as it is', () => {
    expect(policyOf({})).toEqual({
      name: 'a',
      kind: 'token',
      require: [],
      satisfy: 'all',
      authorization: 'keep',
      delegate: undefined,
      minimumLifetime: undefined,
      onlyServices: undefined,
      username: undefined,
    })
  })

  it('that delegates replaces the Authorization header', () => {
    expect(policyOf({ delegate: { notebook: true } })).toMatchObject({
      delegate: { type: 'notebook' },
      authorization: 'replace',
    })
    expect(policyOf({ delegate: { service: 'tap', scopes: ['read:tap', 'read:all'] } })).toMatchObject({
      delegate: { type: 'internal', service: 'tap', scopes: ['read:all', 'read:tap'] },
    })
    expect(policyOf({ delegate: { service: 'tap' } })).toMatchObject({ delegate: { scopes: [] } })
  })

  it('can be for everybody', () => {
    expect(policyOf({ anonymous: true })).toEqual({ name: 'a', kind: 'anonymous' })
  })

  it.each([
    ['no object', 1, ['must be an object']],
    ['unknown members', { required: [], scope: 1 }, ['has unknown members: "required", "scope"']],
    [
      'an unknown scope',
      { require: ['read:tpa'] },
      ['require entry 1 is a scope "read:tpa" that is not in KNOWN_SCOPES'],
    ],
    ['a scope that is no text', { require: [1] }, ['require entry 1 must be text']],
    ['scopes that are no list', { require: 'read:all' }, ['require must be a list']],
    ['another satisfy', { satisfy: 'some' }, ['satisfy must be all or any']],
    ['any of no scopes', { satisfy: 'any' }, ['satisfy any needs scopes in require']],
    ['a short lifetime', { minimumLifetime: 299 }, ['minimumLifetime must be at least 300 seconds']],
    ['a lifetime that is text', { minimumLifetime: '1h' }, ['minimumLifetime must be a number of seconds']],
    [
      'a lifetime that no delegated token keeps',
      { minimumLifetime: 2_591_701, delegate: { notebook: true } },
      ['minimumLifetime must be at most 2591700 seconds: 300 less than the lifetime of a delegated token'],
    ],
    [
      'an undelegable scope',
      { delegate: { service: 'tap', scopes: ['read:all', 'admin:token'] } },
      ['delegate scopes entry 2 is a scope "admin:token" that is never delegated (UNDELEGABLE_SCOPES)'],
    ],
    [
      'a scope of the platform',
      { delegate: { service: 'tap', scopes: ['delegate:token'] } },
      ['delegate scopes entry 1 is a scope "delegate:token" that is never delegated (UNDELEGABLE_SCOPES)'],
    ],
    [
      'an invalid service',
      { delegate: { service: 'a b' } },
      ['delegate service must be 1 to 64 characters of A-Z a-z 0-9 . _ -'],
    ],
    [
      'a service and a notebook',
      { delegate: { service: 'tap', notebook: true } },
      ['delegate has unknown members: "service"'],
    ],
    ['no notebook', { delegate: { notebook: false } }, ['delegate notebook must be true, or absent']],
    ['nothing to delegate', { delegate: {} }, ['delegate service must be text']],
    [
      'a delegation that is null',
      { delegate: null },
      ['delegate must be {"service": "…", "scopes": […]} or {"notebook": true}'],
    ],
    ['nothing to replace with', { authorization: 'replace' }, ['authorization replace needs delegate']],
    ['another authorization', { authorization: 'drop' }, ['authorization must be replace, remove or keep']],
    ['no service at all', { onlyServices: [] }, ['onlyServices must name a service: nobody would pass']],
    ['an empty user', { username: '' }, ['username must not be empty']],
    [
      'checks for everybody',
      { anonymous: true, require: ['read:all'] },
      ['anonymous must be the only member: everybody passes'],
    ],
  ])('with %s is an error', (_what, policy, expected) => {
    expect(errorsOfPolicy(policy)).toEqual(expected)
  })
})

it('a policy delegates only to services that DELEGATION_SERVICES lists, where it is set', () => {
  const policies = { a: { delegate: { service: 'tap' } }, b: { delegate: { service: 'portal' } } }
  const AUTH_POLICIES = JSON.stringify(policies)
  expect(errorsOf({ AUTH_POLICIES })).toEqual([])
  expect(errorsOf({ AUTH_POLICIES, DELEGATION_SERVICES: '{"tap":[]}' })).toEqual([
    'AUTH_POLICIES policy "b": delegate service is a service "portal" that is not in DELEGATION_SERVICES',
  ])
})

it('all errors of all policies are reported at once, by the name of the policy', () => {
  const policies = {
    portal: { require: ['read:tpa', 'x'], extra: 1 },
    tap: { delegate: { service: 'tap', scopes: ['admin:token'], for: 'wren' }, minimumLifetime: 1 },
    good: {},
    '..': {},
    'gt-abcdefghijklmnopqrstuv.ABCDEFGHIJKLMNOPQRSTUV': {},
  }
  expect(errorsOf({ AUTH_POLICIES: JSON.stringify(policies), PORT: 'x' })).toEqual([
    'PORT must be a whole number from 0 to 65535',
    'AUTH_POLICIES policy "portal": require entry 1 is a scope "read:tpa" that is not in KNOWN_SCOPES',
    'AUTH_POLICIES policy "portal": require entry 2 is a scope "x" that is not in KNOWN_SCOPES',
    'AUTH_POLICIES policy "portal": has unknown members: "extra"',
    'AUTH_POLICIES policy "tap": delegate scopes entry 1 is a scope "admin:token" that is never delegated (UNDELEGABLE_SCOPES)',
    'AUTH_POLICIES policy "tap": delegate has unknown members: "for"',
    'AUTH_POLICIES policy "tap": minimumLifetime must be at least 300 seconds',
    'AUTH_POLICIES policy 4 must have a name of 1 to 64 characters of A-Z a-z 0-9 . _ -, beginning with a letter or digit',
    'AUTH_POLICIES policy 5 must have a name of 1 to 64 characters of A-Z a-z 0-9 . _ -, beginning with a letter or digit',
  ])
})

it.each([
  ['is not JSON', '{', 'must be a JSON object of policies: it is not JSON, or has a name twice'],
  [
    'has a name twice',
    '{"a":{},"a":{"require":[]}}',
    'must be a JSON object of policies: it is not JSON, or has a name twice',
  ],
  ['is a list', '[]', 'must be a JSON object of policies: it is not an object'],
])('what %s is no table of policies', (_what, text, expected) => {
  expect(errorsOf({ AUTH_POLICIES: text })).toEqual([`AUTH_POLICIES ${expected}`])
})

it('no error quotes what may be a misplaced secret', () => {
  const secret = 'gt-abcdefghijklmnopqrstuv.ABCDEFGHIJKLMNOPQRSTUV'
  const policies = {
    a: { require: [secret], [secret]: 1, delegate: { service: secret, [secret]: 1 } },
    [secret]: {},
  }
  const errors = errorsOf({ AUTH_POLICIES: JSON.stringify(policies) })
  expect(errors).toHaveLength(5)
  expect(errors.join()).not.toContain('abcdef')
})

it('policies may be in a file, but not in both places', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'porthor-policies-'))
  onTestFinished(() => rm(directory, { recursive: true }))
  const path = join(directory, 'policies.json')
  await writeFile(path, '{ "a": { "username": "wren" } }')
  expect(load({ AUTH_POLICIES_FILE: path })?.policies.get('a')).toMatchObject({ username: 'wren' })
  expect(errorsOf({ AUTH_POLICIES_FILE: path, AUTH_POLICIES: '{}' })).toEqual([
    'AUTH_POLICIES_FILE and AUTH_POLICIES must not both be set',
  ])
})

describe('the interface for gateways', () => {
  it('is off without AUTH_PORT', () => {
    expect(load({ AUTH_PORT: '', AUTH_POLICIES: '{"a":{}}' })).toBeUndefined()
  })

  it('is on this machine only unless AUTH_HOST is set, in production too', () => {
    expect(load({ NODE_ENV: 'production' })).toMatchObject({ host: '127.0.0.1', port: 4_001 })
    expect(load({ AUTH_HOST: '10.0.0.1' })).toMatchObject({ host: '10.0.0.1' })
  })

  it('is never on the port of the API', () => {
    expect(errorsOf({ PORT: '4001' })).toEqual([
      'AUTH_PORT must not be PORT: users reach the API, and only gateways may reach AUTH_PORT',
    ])
    expect(errorsOf({ PORT: '0', AUTH_PORT: '0', ADMIN_PORT: '0' })).toEqual([])
    for (const port of ['4000', '4001']) {
      expect(errorsOf({ ADMIN_PORT: port })).toEqual([
        'ADMIN_PORT must be neither PORT nor AUTH_PORT: leave it out to have probes and metrics on PORT',
      ])
    }
  })

  it('reads no cookie unless SESSION_COOKIE names one', () => {
    expect(load({})).toMatchObject({ sessionCookie: undefined })
    expect(load({ SESSION_COOKIE: 'gafaelfawr' })).toMatchObject({ sessionCookie: 'gafaelfawr' })
    expect(errorsOf({ SESSION_COOKIE: 'a b' })).toEqual([
      'SESSION_COOKIE must be the name of a cookie, without spaces and separators',
    ])
  })
})
