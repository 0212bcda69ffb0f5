import { describe, expect, it } from 'vitest'
import { PorthorError, UnauthenticatedError, UnavailableError } from '../../src/domain/errors.ts'

describe('a token that does not authenticate', () => {
  it('is answered with the same words whatever is wrong with it', () => {
    const messages = (['malformed', 'unknown', 'desynchronised'] as const).map(
      (reason) => new UnauthenticatedError(reason).message,
    )

    expect(new Set(messages).size).toBe(1)
  })

  it('differs from the error without a token, and has its reason in the log', () => {
    const missing = new UnauthenticatedError('missing')

    expect(missing.message).toContain('Authorization: Bearer <token>')
    expect(missing.message).not.toBe(new UnauthenticatedError('unknown').message)
    expect(missing.reason).toBe('missing')
  })
})

it('a store that did not respond is named in the log and not to the client', () => {
  const cause = new Error('connect ECONNREFUSED 10.1.2.3:6379')
  const error = new UnavailableError('redis', cause)

  expect(error).toBeInstanceOf(PorthorError)
  expect(error).toMatchObject({ code: 'UNAVAILABLE', store: 'redis', cause })
  expect(error.message).not.toMatch(/redis|10\.1\.2\.3/i)
})
