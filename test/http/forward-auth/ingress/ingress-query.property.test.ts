import { validateHeaderName, validateHeaderValue } from 'node:http'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import {
  checkUnseen,
  findLateProblems,
  refuseHolder,
} from '../../../../src/http/forward-auth/ingress/checks.ts'
import {
  type IngressQuery,
  parseIngressQuery,
} from '../../../../src/http/forward-auth/ingress/ingress-query.ts'
import { type Refusal, toResponse } from '../../../../src/http/forward-auth/ingress/refusal.ts'
import { anInternalToken, aSession, NOW } from '../../../support/tokens/token-data.ts'

const TOKEN = 'gt-abcdefghijklmnopqrstuv.ABCDEFGHIJKLMNOPQRSTUV'
const NAMES = [
  ...['scope', 'satisfy', 'notebook', 'delegate_to', 'delegate_scope', 'minimum_lifetime', 'service'],
  ...['use_authorization', 'only_service', 'username', 'auth_type', 'allow_cookies', 'allow_options'],
]
const VALUE = fc.oneof(
  fc.constantFrom('', 'all', 'any', 'true', '0', 'tap', 'read:all', 'wren', 'basic', '600', '1e3', TOKEN),
  fc.constantFrom('a"b', 'a\\b', 'a\r\nX-Auth-Request-User: root', 'ü\u0000', '%', '+', '&', '\ud800'),
  fc.string({ unit: 'binary' }),
)
const QUERY = fc
  .array(fc.tuple(fc.oneof({ weight: 9, arbitrary: fc.constantFrom(...NAMES) }, fc.string()), VALUE))
  .map((pairs) => String(new URLSearchParams(pairs)))

const ORIGINAL = fc.record({
  method: fc.option(fc.constantFrom('GET', 'OPTIONS', ''), { nil: undefined }),
  hasUrl: fc.boolean(),
})

/** Decides as the endpoint does on a request with a valid token. */
function decide(query: IngressQuery, original: Parameters<typeof checkUnseen>[1]): Refusal | undefined {
  const { refusal } = checkUnseen(query, original)
  if (refusal) return refusal
  const problems = findLateProblems(query, original, (service) => service === 'tap')
  const rules = query.access.value
  if (!rules || problems.length > 0) return { kind: 'problems', problems }
  return [aSession(), anInternalToken()]
    .map((data) => refuseHolder(rules, data, { token: 86_400, delegatedToken: 3_600 }, NOW))
    .find((refused) => refused !== undefined)
}

it('whatever a query has in it, the response can be sent, is no error of the server, and has no bearer string', () => {
  fc.assert(
    fc.property(QUERY, ORIGINAL, fc.boolean(), (text, original, isAjax) => {
      const query = parseIngressQuery(text)
      const refusal = decide(query, original)
      if (!refusal) return
      const authType = query.credentials.value?.authType ?? 'bearer'
      const { status, headers, body } = toResponse(refusal, { authType, realm: 'example.org', isAjax })
      expect([401, 403, 422]).toContain(status)
      for (let index = 0; index < headers.length; index += 2) {
        const [name = '', value = ''] = headers.slice(index, index + 2)
        validateHeaderName(name)
        validateHeaderValue(name, value)
      }
      expect(headers.join('\n') + body).not.toContain(TOKEN)
    }),
    { numRuns: 2_000 },
  )
})
