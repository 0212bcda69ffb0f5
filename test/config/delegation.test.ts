import { describe, expect, it } from 'vitest'
import { type Config, type Environment, loadConfig } from '../../src/config/config.ts'
import { configErrorsOf } from '../support/checks/config-errors.ts'

const LEAST: Environment = {
  DATABASE_URL: 'postgresql://porthor:hunter2@db.example/porthor',
  SESSION_SECRET: 'AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=',
  BOOTSTRAP_TOKEN: 'none',
}

const load = (changes: Environment): Config => loadConfig({ ...LEAST, ...changes })

/** Errors of these settings. */
const errorsOf = (changes: Environment) => configErrorsOf({ ...LEAST, ...changes })

describe('rule 15: the settings of gateways', () => {
  it('without any, tokens are delegated by their holders', () => {
    expect(load({}).delegationRights).toEqual({ mode: 'self' })
    expect(load({ DELEGATION: 'self', DELEGATION_CHAINS: 'true' }).delegationRights).toEqual({ mode: 'self' })
  })

  it('DELEGATION=gateway alone permits every gateway every service, and no chains', () => {
    expect(load({ DELEGATION: 'gateway' }).delegationRights).toEqual({
      mode: 'gateway',
      gateways: undefined,
      chains: false,
    })
  })

  it('DELEGATION_GATEWAYS has the services of each gateway', () => {
    const { delegationRights } = load({
      DELEGATION: 'gateway',
      DELEGATION_CHAINS: 'true',
      DELEGATION_GATEWAYS: '{"bot-edge":["tap","notebook"],"bot-idle":[]}',
    })
    expect(delegationRights).toEqual({
      mode: 'gateway',
      gateways: new Map([
        ['bot-edge', new Set(['tap', 'notebook'])],
        ['bot-idle', new Set()],
      ]),
      chains: true,
    })
  })

  it.each([
    ['bot-edge', 'it is not JSON'],
    ['["bot-edge"]', 'it is not an object'],
    ['null', 'it is not an object'],
    ['{"bot-a":["tap"],"wren":["tap"]}', 'entry 2 is not valid'],
    ['{"bot-a":"tap"}', 'entry 1 is not valid'],
    ['{"bot-a":["tap","a b"]}', 'item 2 of entry 1 is not valid'],
    ['{"bot-a":[1]}', 'item 1 of entry 1 is not valid'],
  ])('DELEGATION_GATEWAYS=%s is refused: %s', (DELEGATION_GATEWAYS, reason) => {
    expect(errorsOf({ DELEGATION: 'gateway', DELEGATION_GATEWAYS })).toEqual([
      `DELEGATION_GATEWAYS must be a JSON object of bot usernames and arrays of services: ${reason}`,
    ])
  })

  it('DELEGATION_GATEWAYS is refused where it would have no effect', () => {
    expect(errorsOf({ DELEGATION_GATEWAYS: '{"bot-edge":["tap"]}' })).toEqual([
      'DELEGATION_GATEWAYS has no effect unless DELEGATION is gateway',
    ])
  })

  it('a gateway has only services that DELEGATION_SERVICES lists, and "notebook"', () => {
    const env = { DELEGATION: 'gateway', DELEGATION_SERVICES: '{"tap":[]}' }
    expect(errorsOf({ ...env, DELEGATION_GATEWAYS: '{"bot-a":["tap","notebook"]}' })).toEqual([])
    expect(errorsOf({ ...env, DELEGATION_GATEWAYS: '{"bot-a":["tap"],"bot-b":["portal"]}' })).toEqual([
      'DELEGATION_GATEWAYS must have services of DELEGATION_SERVICES, or "notebook": entry 2 has another one',
    ])
  })
})

describe('rule 16: DELEGATION_SERVICES', () => {
  it('has the scopes that each service may be given, sorted; without it, any service may be given any', () => {
    expect(load({}).delegationLimits.services).toBeUndefined()
    const { services } = load({
      DELEGATION_SERVICES: '{"tap":["read:tap","read:all","read:tap"],"status":[]}',
    }).delegationLimits
    expect(services).toEqual(
      new Map([
        ['tap', ['read:all', 'read:tap']],
        ['status', []],
      ]),
    )
  })

  it('may be empty: then no service is given a token', () => {
    expect(load({ DELEGATION_SERVICES: '{}' }).delegationLimits.services).toEqual(new Map())
  })

  it.each([
    [
      '{"tap":["read:tap"],"portal":["read:tapp"]}',
      'must have scopes of KNOWN_SCOPES: entry 2 has one that is not known',
    ],
    [
      '{"tap":["admin:token"]}',
      'must have scopes that may be delegated: entry 1 has one of UNDELEGABLE_SCOPES',
    ],
    [
      '{"tap":["delegate:token"]}',
      'must have scopes that may be delegated: entry 1 has one of UNDELEGABLE_SCOPES',
    ],
    ['{"a service":[]}', 'must be a JSON object of services and arrays of scopes: entry 1 is not valid'],
    ['{"tap":', 'must be a JSON object of services and arrays of scopes: it is not JSON'],
  ])('%s is refused: it %s', (DELEGATION_SERVICES, reason) => {
    expect(errorsOf({ DELEGATION_SERVICES })).toEqual([`DELEGATION_SERVICES ${reason}`])
  })
})

it('all errors of the settings of delegation are reported at once', () => {
  const errors = errorsOf({
    DELEGATION: 'gateways',
    DELEGATION_GATEWAYS: '{',
    DELEGATION_SERVICES: '{"tap":["read:nothing"]}',
    DELEGATION_CHAINS: 'yes',
  })
  expect(errors.map((error) => error.split(' ', 1)[0])).toEqual([
    'DELEGATION',
    'DELEGATION_GATEWAYS',
    'DELEGATION_CHAINS',
    'DELEGATION_SERVICES',
  ])
})

it('an error of a setting of delegation does not quote it: it may be a misplaced secret', () => {
  const secret = 'gt-q1w2e3r4t5y6u7i8o9p0aQ.Zx-9_Yw8Vu7Ts6Rq5Po4Ng'
  for (const text of [secret, `{"${secret}":[]}`, `{"bot-a":["${secret}"]}`, `{"tap":["${secret}"]}`]) {
    const errors = errorsOf({ DELEGATION: 'gateway', DELEGATION_GATEWAYS: text, DELEGATION_SERVICES: text })
    expect(errors).not.toEqual([])
    expect(errors.join()).not.toContain('q1w2e3r4')
  }
})
