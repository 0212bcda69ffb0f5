import { expect, it } from 'vitest'
import { type Refusal, toResponse } from '../../../../src/http/forward-auth/ingress/refusal.ts'

const FACTS = { authType: 'bearer', realm: 'example.org', isAjax: false } as const

function responseTo(refusal: Refusal, facts: Partial<Parameters<typeof toResponse>[1]> = {}) {
  const { status, headers, body } = toResponse(refusal, { ...FACTS, ...facts })
  const fields: Record<string, string | undefined> = {}
  for (let index = 0; index < headers.length; index += 2) fields[headers[index] ?? ''] = headers[index + 1]
  const { 'Cache-Control': cacheControl, 'Content-Type': contentType, ...rest } = fields
  expect([cacheControl, contentType]).toEqual(['no-cache, no-store', 'application/json'])
  return { status, headers: rest, body: JSON.parse(body) }
}

it('problems are in a response 422 without a challenge', () => {
  const problem = { loc: ['query', 'x'], msg: 'm', type: 't' } as const
  expect(responseTo({ kind: 'problems', problems: [problem] })).toEqual({
    status: 422,
    headers: {},
    body: { detail: [problem] },
  })
})

const PLAIN = {
  headers: { 'WWW-Authenticate': 'Bearer realm="example.org"' },
  body: { detail: { msg: 'Authentication required', type: 'no_authorization' } },
}

it('a request without credentials gets a plain challenge, whose detail is an object, and no X-Error fields', () => {
  expect(responseTo({ kind: 'unauthenticated' })).toEqual({ status: 401, ...PLAIN })
})

it('a script gets 403 in place of a plain 401', () => {
  expect(responseTo({ kind: 'unauthenticated' }, { isAjax: true })).toEqual({ status: 403, ...PLAIN })
})

const LIFETIME = {
  headers: {
    'WWW-Authenticate':
      'Bearer realm="example.org", error="invalid_token", error_description="Remaining token lifetime too short"',
  },
  body: { detail: { msg: 'Remaining token lifetime too short', type: 'invalid_token' } },
}

it('a token that expires too soon is invalid_token, its detail is an object, and there are no X-Error fields', () => {
  expect(responseTo({ kind: 'lifetime' })).toEqual({ status: 401, ...LIFETIME })
  expect(responseTo({ kind: 'lifetime' }, { isAjax: true })).toEqual({ status: 403, ...LIFETIME })
})

it.each([
  ['invalid_request', 403, '400'],
  ['invalid_token', 401, '401'],
  ['insufficient_scope', 403, '403'],
] as const)(
  '%s is sent as %d, and X-Error-Status is %s, with the body in X-Error-Body',
  (code, status, shown) => {
    const body = { detail: [{ msg: 'why', type: code }] }
    for (const isAjax of [false, true]) {
      const { headers, ...rest } = responseTo(
        { kind: 'bearer', error: { code, description: 'why' } },
        { isAjax },
      )
      expect(rest).toEqual({ status, body })
      expect(headers).toEqual({
        'WWW-Authenticate': `Bearer realm="example.org", error="${code}", error_description="why"`,
        'X-Error-Status': shown,
        'X-Error-Body': JSON.stringify(body),
      })
    }
  },
)

it('an auth_type basic gets Basic challenges', () => {
  const error = { code: 'invalid_token', description: 'why' } as const
  for (const refusal of [{ kind: 'unauthenticated' }, { kind: 'bearer', error }] as const) {
    expect(responseTo(refusal, { authType: 'basic' }).headers['WWW-Authenticate']).toBe(
      'Basic realm="example.org"',
    )
  }
})

it('a refusal without a code of RFC 6750 has no challenge', () => {
  const detail = { msg: 'why', type: 'not_found' }
  expect(responseTo({ kind: 'forbidden', detail, shownStatus: 404 })).toEqual({
    status: 403,
    headers: { 'X-Error-Status': '404', 'X-Error-Body': JSON.stringify({ detail: [detail] }) },
    body: { detail: [detail] },
  })
  expect(responseTo({ kind: 'forbidden', detail }).headers['X-Error-Status']).toBe('403')
})

it('unavailable stores are a response 503 that may be repeated, without a challenge', () => {
  expect(responseTo({ kind: 'unavailable' })).toMatchObject({ status: 503, headers: { 'Retry-After': '1' } })
})
