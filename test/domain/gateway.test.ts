import { describe, expect, it } from 'vitest'
import type { Actor } from '../../src/domain/actor.ts'
import type { DelegationRequest } from '../../src/domain/delegation.ts'
import {
  type DelegationRights,
  type Delegator,
  delegatorName,
  FORWARD_AUTH,
  requireChain,
  requireGateway,
  requireGatewayService,
  requireMayDelegate,
  SELF,
} from '../../src/domain/gateway.ts'
import type { RootTokenData } from '../../src/domain/token.ts'
import { failure } from '../support/checks/failures.ts'
import { aNotebookToken, anInternalToken, aSession } from '../support/tokens/token-data.ts'

const GATEWAY: DelegationRights = { mode: 'gateway', gateways: undefined, chains: false }
const DENIED = failure('PERMISSION_DENIED')
const TAP: DelegationRequest = { type: 'internal', service: 'tap', scopes: [] }
const NOTEBOOK: DelegationRequest = { type: 'notebook', undelegable: new Set() }

const bot = (facts: Partial<RootTokenData> = {}) =>
  aSession({ username: 'bot-edge', type: 'service', scopes: ['delegate:token'], ...facts })
const holder = (data: RootTokenData): Actor => ({ kind: 'token', data })
const BY_BOT: Delegator = { kind: 'gateway', data: bot() }

describe('rule 15: a gateway is a service token that holds delegate:token', () => {
  it('and is accepted as one', () => {
    expect(requireGateway(holder(bot()), GATEWAY)).toEqual({ kind: 'gateway', data: bot() })
  })

  it.each<[string, Actor]>([
    ['a service token without that scope', holder(bot({ scopes: ['admin:token'] }))],
    ['a session with that scope', holder(bot({ type: 'session' }))],
    ['a user token with that scope', holder(bot({ type: 'user' }))],
    [
      'an internal token with that scope',
      { kind: 'token', data: anInternalToken({ scopes: ['delegate:token'] }) },
    ],
    ['a service token that a delegated token has created', { ...holder(bot()), hasParent: true } as Actor],
    ['the bootstrap token', { kind: 'bootstrap' }],
    ['the operator', { kind: 'operator' }],
  ])('%s is not one', (_what, actor) => {
    expect(() => requireGateway(actor, GATEWAY)).toThrow(DENIED)
  })

  it('with DELEGATION=self there is none', () => {
    expect(() => requireGateway(holder(bot()), { mode: 'self' })).toThrow(DENIED)
    expect(() => requireMayDelegate(BY_BOT, aSession(), { mode: 'self' })).toThrow(DENIED)
  })
})

describe('rule 15: who may delegate', () => {
  it('with DELEGATION=self the holder of any token, a delegated one too', () => {
    for (const parent of [aSession(), anInternalToken(), aNotebookToken()]) {
      requireMayDelegate(SELF, parent, { mode: 'self' })
      requireMayDelegate(FORWARD_AUTH, parent, { mode: 'self' })
    }
  })

  it('with DELEGATION=gateway no holder of a token, a gateway itself included', () => {
    for (const parent of [aSession(), bot()]) {
      expect(() => requireMayDelegate(SELF, parent, GATEWAY)).toThrow(DENIED)
    }
  })

  it('with DELEGATION=gateway a gateway and forward-auth', () => {
    for (const by of [BY_BOT, FORWARD_AUTH]) {
      requireMayDelegate(by, aSession(), GATEWAY)
    }
  })

  it('a gateway of DELEGATION_GATEWAYS only for its services, any other for none, and forward-auth for all', () => {
    const rights: DelegationRights = {
      mode: 'gateway',
      gateways: new Map([['bot-edge', new Set(['tap'])]]),
      chains: false,
    }
    const other: Delegator = { kind: 'gateway', data: bot({ username: 'bot-other' }) }
    requireGatewayService(BY_BOT, TAP, rights)
    requireGatewayService(FORWARD_AUTH, NOTEBOOK, rights)
    expect(() => requireGatewayService(BY_BOT, NOTEBOOK, rights)).toThrow(DENIED)
    expect(() => requireGatewayService(BY_BOT, { ...TAP, service: 'portal' }, rights)).toThrow(
      failure('PERMISSION_DENIED', { facts: { service: 'portal' } }),
    )
    expect(() => requireGatewayService(other, TAP, rights)).toThrow(DENIED)
  })

  it('"notebook" among the services of a gateway allows no internal token for a service of this name', () => {
    const gateways = new Map([['bot-edge', new Set(['notebook'])]])
    const request: DelegationRequest = { type: 'internal', service: 'notebook', scopes: [] }
    expect(() =>
      requireGatewayService(BY_BOT, request, { mode: 'gateway', gateways, chains: false }),
    ).toThrow(/stands for notebook tokens/)
  })

  it('"notebook" among the services of a gateway allows notebook tokens', () => {
    const gateways = new Map([['bot-edge', new Set(['notebook'])]])
    requireGatewayService(BY_BOT, NOTEBOOK, { mode: 'gateway', gateways, chains: false })
  })

  it('a delegated token is no subject unless DELEGATION_CHAINS is true', () => {
    for (const parent of [anInternalToken(), aNotebookToken()]) {
      for (const by of [BY_BOT, FORWARD_AUTH]) {
        expect(() => requireMayDelegate(by, parent, GATEWAY)).toThrow(DENIED)
        requireMayDelegate(by, parent, { ...GATEWAY, chains: true })
      }
    }
  })

  it('neither is a token that a delegated token has created', () => {
    expect(() => requireChain(true, GATEWAY)).toThrow(DENIED)
    requireChain(false, GATEWAY)
    requireChain(true, { ...GATEWAY, chains: true })
    requireChain(true, { mode: 'self' })
  })

  it('the actor in history is the gateway, and for other delegators the user of the parent', () => {
    const parent = aSession({ username: 'wren' })
    expect(delegatorName(BY_BOT, parent)).toBe('bot-edge')
    expect([delegatorName(SELF, parent), delegatorName(FORWARD_AUTH, parent)]).toEqual(['wren', 'wren'])
  })
})
