import { describe, expect, it } from 'vitest'
import {
  checkUnseen,
  findLateProblems,
  refuseHolder,
} from '../../../../src/http/forward-auth/ingress/checks.ts'
import { parseIngressQuery } from '../../../../src/http/forward-auth/ingress/ingress-query.ts'
import type { Refusal } from '../../../../src/http/forward-auth/ingress/refusal.ts'
import { anInternalToken, aSession, at, NOW } from '../../../support/tokens/token-data.ts'

const GET = { method: 'GET', hasUrl: true }

/** Types of the problems of a refusal, or its kind. */
const what = (refusal: Refusal | undefined) =>
  refusal?.kind === 'problems' ? refusal.problems.map(({ loc, type }) => `${loc[1]} ${type}`) : refusal?.kind

describe('before authentication a request is refused', () => {
  it.each([
    ['for notebook with delegate_to', 'notebook=1&delegate_to=tap', GET, ['delegate_to invalid_delegate_to']],
    ['for another service', 'service=a&delegate_to=tap', GET, ['service invalid_service']],
    [
      'for a conflict, before anything else',
      'notebook=1&delegate_to=tap&allow_cookies=x&user_domain=x',
      { method: 'OPTIONS', hasUrl: true },
      ['delegate_to invalid_delegate_to'],
    ],
    ['for a bad auth_type', 'auth_type=x', GET, ['auth_type enum']],
    ['for a bad allow_cookies', 'allow_cookies=x', GET, ['allow_cookies bool_parsing']],
    [
      'with all problems, if one of them is reported now',
      'auth_type=x&satisfy=x&minimum_lifetime=1',
      { method: undefined, hasUrl: false },
      [
        'x-original-url missing',
        'minimum_lifetime greater_than_equal',
        'satisfy enum',
        'auth_type enum',
        'x-original-method missing',
      ],
    ],
    ['without X-Original-Method', '', { method: undefined, hasUrl: true }, ['x-original-method missing']],
    ['for what is not supported', 'user_domain=x', GET, ['user_domain not_supported']],
    [
      'for what is not supported, also by OPTIONS',
      'allow_options=true',
      { method: 'OPTIONS', hasUrl: true },
      ['allow_options not_supported'],
    ],
    ['for OPTIONS', '', { method: 'OPTIONS', hasUrl: true }, 'forbidden'],
    ['for OPTIONS, whatever is bad beside', 'satisfy=x', { method: 'OPTIONS', hasUrl: false }, 'forbidden'],
  ])('%s', (_why, query, original, refused) => {
    expect(what(checkUnseen(parseIngressQuery(query), original).refusal)).toEqual(refused)
  })
})

describe('before authentication a request is not refused', () => {
  it.each([
    ['for other bad values', 'satisfy=x&notebook=x&minimum_lifetime=x&use_authorization=x', GET],
    ['for a conflict beside a bad value', 'notebook=1&delegate_to=tap&satisfy=x', GET],
    ['for a conflict without X-Original-URL', 'notebook=1&delegate_to=tap', { method: 'GET', hasUrl: false }],
    ['without X-Original-URL', '', { method: 'GET', hasUrl: false }],
    ['for a method that only looks like OPTIONS', '', { method: 'options', hasUrl: true }],
    ['for any other method', '', { method: 'DELETE', hasUrl: true }],
  ])('%s', (_why, query, original) => {
    expect(checkUnseen(parseIngressQuery(query), original).rules).toEqual({
      authType: 'bearer',
      allowCookies: true,
    })
  })
})

describe('after authentication a request is refused', () => {
  it.each([
    ['without X-Original-URL', 'satisfy=x', { method: 'GET', hasUrl: false }, ['x-original-url', 'satisfy']],
    [
      'for bad values, in the order of the parameters',
      'use_authorization=x&satisfy=x&minimum_lifetime=x&notebook=x',
      GET,
      ['notebook', 'minimum_lifetime', 'satisfy', 'use_authorization'],
    ],
    ['for a service that may not be given a token', 'delegate_to=other', GET, ['delegate_to']],
    ['for a name that is no name of a service', 'delegate_to=a/b', GET, ['delegate_to']],
  ])('%s', (_why, query, original, names) => {
    const problems = findLateProblems(parseIngressQuery(query), original, (service) => service !== 'other')
    expect(problems.map(({ loc: [, name] }) => name)).toEqual(names)
  })
})

const LIFETIMES = { token: 86_400, delegatedToken: 3_600 }

describe('the holder of a valid token', () => {
  it.each([
    [
      'a lifetime that no token has for long',
      'minimum_lifetime=86101',
      aSession(),
      ['minimum_lifetime invalid_minimum_lifetime'],
    ],
    [
      'a lifetime that no delegated token has for long',
      'notebook=1&minimum_lifetime=3301',
      aSession(),
      ['minimum_lifetime invalid_minimum_lifetime'],
    ],
    [
      'a lifetime that the token does not have any more',
      'minimum_lifetime=600',
      aSession({ expiresAt: at(599) }),
      'lifetime',
    ],
    [
      'a part of a second more than the token has',
      'minimum_lifetime=600.5',
      aSession({ expiresAt: at(600) }),
      'lifetime',
    ],
    ['300 s for a delegated token', 'delegate_to=tap', aSession({ expiresAt: at(299) }), 'lifetime'],
    [
      'a scope that is missing, of an impossible lifetime',
      'minimum_lifetime=86101&scope=x',
      aSession(),
      ['minimum_lifetime invalid_minimum_lifetime'],
    ],
    [
      'a scope that is missing, of a lifetime that is too short',
      'minimum_lifetime=600&scope=x',
      aSession({ expiresAt: at(599) }),
      'lifetime',
    ],
    ['a scope that is missing', 'scope=x&scope=read:all', aSession(), 'bearer'],
    ['a token of a service', 'only_service=tap', aSession(), 'bearer'],
    ['a token of another service', 'only_service=portal', anInternalToken(), 'bearer'],
    ['a token of a service without a name', 'only_service=', anInternalToken(), 'bearer'],
    ['another username', 'username=ada', aSession(), 'bearer'],
  ])('does not pass where an ingress needs %s', (_what, query, data, refused) => {
    const rules = parseIngressQuery(query).access.value ?? expect.fail('not valid')
    expect(what(refuseHolder(rules, data, LIFETIMES, NOW))).toEqual(refused)
  })

  it.each([
    ['nothing', '', aSession()],
    ['the greatest possible lifetime', 'minimum_lifetime=86100', aSession()],
    ['the greatest possible lifetime of a delegated token', 'notebook=1&minimum_lifetime=3300', aSession()],
    ['just the lifetime that the token has', 'minimum_lifetime=600', aSession({ expiresAt: at(600) })],
    ['a lifetime, where the token never expires', 'minimum_lifetime=600', aSession({ expiresAt: null })],
    ['no lifetime, where the token is about to expire', 'scope=read:all', aSession({ expiresAt: at(1) })],
    ['a token of its service', 'only_service=portal&only_service=tap', anInternalToken()],
    ['its username', 'username=wren', aSession()],
    ['no username', 'username=', aSession()],
  ])('passes where an ingress needs %s', (_what, query, data) => {
    const rules = parseIngressQuery(query).access.value ?? expect.fail('not valid')
    expect(refuseHolder(rules, data, LIFETIMES, NOW)).toBe(undefined)
  })
})
