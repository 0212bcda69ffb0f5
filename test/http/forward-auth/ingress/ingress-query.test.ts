import { describe, expect, it } from 'vitest'
import {
  type AccessRules,
  findServiceProblem,
  parseIngressQuery,
  satisfies,
} from '../../../../src/http/forward-auth/ingress/ingress-query.ts'

const access = (query: string): AccessRules =>
  parseIngressQuery(query).access.value ?? expect.fail(`${query} is not valid`)
const accessProblems = (query: string) => parseIngressQuery(query).access.problems
const credentialProblems = (query: string) => parseIngressQuery(query).credentials.problems
const types = (problems: readonly { readonly loc: readonly string[]; readonly type: string }[] = []) =>
  problems.map(({ loc, type }) => [...loc, type].join(' '))

it('an empty query lets every valid token pass, and delegates nothing', () => {
  expect(parseIngressQuery('')).toEqual({
    credentials: { value: { authType: 'bearer', allowCookies: true } },
    access: {
      value: {
        scopes: [],
        satisfy: 'all',
        onlyServices: undefined,
        username: undefined,
        wanted: undefined,
        minimumLifetime: undefined,
        useAuthorization: false,
      },
    },
    conflict: undefined,
    unsupported: [],
  })
})

it('of a repeated scalar parameter the last value counts', () => {
  const query =
    'satisfy=any&satisfy=all&username=ada&username=wren&notebook=1&notebook=0&auth_type=x&auth_type=basic'
  expect(access(query)).toMatchObject({ satisfy: 'all', username: 'wren', wanted: undefined })
  expect(parseIngressQuery(query).credentials.value?.authType).toBe('basic')
})

it('repeated scopes, delegated scopes and services are sets', () => {
  const query =
    'scope=b&scope=a&scope=b&delegate_to=tap&delegate_scope=d&delegate_scope=c&only_service=x&only_service=y'
  expect(access(query)).toMatchObject({
    scopes: ['a', 'b'],
    wanted: { type: 'internal', service: 'tap', scopes: ['c', 'd'] },
    onlyServices: ['x', 'y'],
  })
})

it('names and values are decoded as a form: percent-encoded, with + for a space', () => {
  expect(access('scope=read%3Aall&user%6Eame=a+b')).toMatchObject({ scopes: ['read:all'], username: 'a b' })
})

it('an empty delegate_to, service and username count as absent', () => {
  expect(access('delegate_to=&username=&notebook=true&service=')).toMatchObject({
    username: undefined,
    wanted: { type: 'notebook' },
  })
  expect(parseIngressQuery('delegate_to=tap&service=').conflict).toBe(undefined)
})

it('parameters that nobody knows are ignored', () => {
  expect(access('rd=https://x&foo')).toEqual(access(''))
})

describe('a boolean is', () => {
  it.each(['1', 'on', 't', 'true', 'y', 'yes', 'TRUE', 'Yes'])('true as %s', (text) => {
    expect(access(`use_authorization=${text}`).useAuthorization).toBe(true)
  })
  it.each(['0', 'off', 'f', 'false', 'n', 'no', 'FALSE', 'No'])('false as %s', (text) => {
    expect(access(`use_authorization=${text}`).useAuthorization).toBe(false)
  })
  it.each(['', '2', 'maybe', '%20true', 'true%20', 'null'])('refused as "%s"', (text) => {
    expect(accessProblems(`notebook=${text}&use_authorization=${text}`)).toEqual([
      {
        loc: ['query', 'notebook'],
        msg: 'Input should be a valid boolean, unable to interpret input',
        type: 'bool_parsing',
      },
      expect.objectContaining({ loc: ['query', 'use_authorization'] }),
    ])
  })
})

describe('minimum_lifetime is', () => {
  it.each([
    ['300', 300],
    ['600.5', 600.5],
    ['1e3', 1000],
    ['1E%2B3', 1000],
    ['%2B600', 600],
    ['+600', 600],
    ['0600.', 600],
    ['1_000', 1000],
    ['%20600%20', 600],
    ['1e12', 1e12],
  ])('a number as %s', (text, seconds) => {
    expect(access(`minimum_lifetime=${text}`).minimumLifetime).toBe(seconds)
  })
  it.each([
    ['299.999', 'greater_than_equal'],
    ['0', 'greater_than_equal'],
    ['-600', 'greater_than_equal'],
    ['inf', 'time_delta_parsing'],
    ['-Infinity', 'time_delta_parsing'],
    ['NaN', 'time_delta_parsing'],
    ['1e999', 'time_delta_parsing'],
    ['', 'value_error'],
    ['10m', 'value_error'],
    ['0x258', 'value_error'],
    ['600_', 'value_error'],
    ['1,000', 'value_error'],
  ])('refused as %s', (text, type) => {
    expect(types(accessProblems(`minimum_lifetime=${text}`))).toEqual([`query minimum_lifetime ${type}`])
  })
  it('300 s where a token is delegated and none is given', () => {
    expect(access('delegate_to=tap').minimumLifetime).toBe(300)
    expect(access('notebook=yes').minimumLifetime).toBe(300)
    expect(access('notebook=yes&minimum_lifetime=900').minimumLifetime).toBe(900)
  })
})

it.each([
  ['satisfy', 'most', "Input should be 'all' or 'any'"],
  ['satisfy', 'ANY', "Input should be 'all' or 'any'"],
])('%s=%s is refused', (name, value, msg) => {
  expect(accessProblems(`${name}=${value}`)).toEqual([{ loc: ['query', name], msg, type: 'enum' }])
})

it('a bad auth_type and allow_cookies are reported apart from the others', () => {
  expect(credentialProblems('auth_type=digest&allow_cookies=x')).toEqual([
    expect.objectContaining({ loc: ['query', 'allow_cookies'], type: 'bool_parsing' }),
    { loc: ['query', 'auth_type'], msg: "Input should be 'basic' or 'bearer'", type: 'enum' },
  ])
  expect(accessProblems('auth_type=digest&allow_cookies=x')).toBe(undefined)
})

it('notebook with delegate_to is a conflict, and service with another delegate_to', () => {
  const conflict = (query: string) => parseIngressQuery(query).conflict
  expect(conflict('notebook=1&delegate_to=tap')).toMatchObject({
    loc: ['query', 'delegate_to'],
    type: 'invalid_delegate_to',
  })
  expect(conflict('service=a&delegate_to=tap')).toMatchObject({
    loc: ['query', 'service'],
    type: 'invalid_service',
  })
  expect(conflict('service=tap&delegate_to=tap')).toBe(undefined)
  expect(conflict('service=a&notebook=1')).toBe(undefined)
})

it('user_domain and allow_options=true are not supported, and the message says so', () => {
  const unsupported = (query: string) => parseIngressQuery(query).unsupported.map(({ msg }) => msg)
  expect(unsupported('user_domain=x&allow_options=1')).toEqual([
    expect.stringContaining('user_domain is not supported'),
    expect.stringContaining('allow_options is not supported'),
  ])
  expect(unsupported('user_domain=')).toHaveLength(1)
  expect(unsupported('allow_options=false')).toEqual([])
  expect(types(parseIngressQuery('allow_options=x').unsupported)).toEqual([
    'query allow_options bool_parsing',
  ])
})

it.each([
  ['a name that is not valid', 'a b'],
  ['a name that is too long', 'x'.repeat(65)],
  ['a token', 'gt-abcdefghijklmnopqrstuv.ABCDEFGHIJKLMNOPQRSTUV'],
  ['a service that is not listed', 'other'],
])('delegate_to is refused as %s', (_what, service) => {
  const problem = findServiceProblem({ type: 'internal', service, scopes: [] }, (name) => name === 'tap')
  expect(problem).toMatchObject({ loc: ['query', 'delegate_to'], type: 'invalid_service' })
  expect(problem?.msg).not.toMatch(/gt-[a-z]/)
})

it.each([
  ['all of none', '', [], true],
  ['all of some that are held', 'scope=a&scope=b', ['a', 'b', 'c'], true],
  ['all of some of which one is not held', 'scope=a&scope=b', ['a'], false],
  ['all of an empty one', 'scope=', ['a'], false],
  ['any of none', 'satisfy=any', ['a'], false],
  ['any of some of which one is held', 'satisfy=any&scope=a&scope=b', ['b'], true],
  ['any of some that are not held', 'satisfy=any&scope=a&scope=b', ['c'], false],
  ['any of an empty one', 'satisfy=any&scope=', ['a'], false],
])('scopes that a request needs: %s', (_what, query, held, passes) => {
  expect(satisfies(held, access(query))).toBe(passes)
})
