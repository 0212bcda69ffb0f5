import { describe, expect, it } from 'vitest'
import {
  isListed,
  listedScopes,
  requireListed,
  requireWithinService,
  type ServiceScopes,
  withinService,
} from '../../src/domain/service-scopes.ts'
import { failure } from '../support/checks/failures.ts'

const SERVICES: ServiceScopes = new Map([
  ['tap', ['read:image', 'read:tap']],
  ['status', []],
])

describe('rule 16: what a service may be given', () => {
  it('a service that is not listed is refused as PERMISSION_DENIED, by its name', () => {
    expect(isListed('portal', SERVICES)).toBe(false)
    expect(() => requireListed('portal', SERVICES)).toThrow(
      failure('PERMISSION_DENIED', {
        facts: { service: 'portal' },
        message: expect.stringContaining('"portal"'),
      }),
    )
  })

  it('a listed service is permitted, also one that may be given no scopes', () => {
    for (const service of SERVICES.keys()) {
      expect(isListed(service, SERVICES)).toBe(true)
      requireListed(service, SERVICES)
    }
  })

  it('a name of JavaScript is no listed service', () => {
    for (const service of ['constructor', '__proto__', 'toString']) {
      expect(isListed(service, SERVICES)).toBe(false)
      expect(listedScopes(service, SERVICES)).toEqual([])
    }
  })

  it('scopes beyond the list are refused as INVALID_SCOPES, by name', () => {
    requireWithinService(['read:tap'], 'tap', SERVICES)
    requireWithinService([], 'status', SERVICES)
    expect(() => requireWithinService(['exec:notebook', 'read:tap'], 'tap', SERVICES)).toThrow(
      failure('INVALID_SCOPES', {
        facts: {
          service: 'tap',
          excessScopes: ['exec:notebook'],
          permittedScopes: ['read:image', 'read:tap'],
        },
      }),
    )
    expect(() => requireWithinService(['read:tap'], 'status', SERVICES)).toThrow(failure('INVALID_SCOPES'))
  })

  it('scopes beyond the list can also be left out', () => {
    expect(withinService(['exec:notebook', 'read:tap'], 'tap', SERVICES)).toEqual(['read:tap'])
    expect(withinService(['read:tap'], 'status', SERVICES)).toEqual([])
    expect(withinService(['read:tap'], 'portal', SERVICES)).toEqual([])
  })

  it('without a list, every service may be given every scope, and none is listed', () => {
    expect(isListed('portal', undefined)).toBe(true)
    requireListed('portal', undefined)
    requireWithinService(['read:tap'], 'portal', undefined)
    expect(withinService(['read:tap'], 'portal', undefined)).toEqual(['read:tap'])
    expect(listedScopes('portal', undefined)).toEqual([])
  })
})
