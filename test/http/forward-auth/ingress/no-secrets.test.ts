import { expect, it } from 'vitest'
import { formatToken, generateToken, parseToken } from '../../../../src/domain/token.ts'
import { usePorthor } from '../../../support/porthor/use-porthor.ts'
import { send } from '../../../support/requests/http.ts'
import { askIngress, basic, type IngressAnswer, stateCookie } from '../../../support/requests/ingress.ts'

const t = usePorthor('redis', { AUTH_PORT: '0', INGRESS_AUTH: 'true', SESSION_COOKIE: 'sid' })

/** The fields whose job it is to carry a delegated token. */
const DELEGATED = ['X-Auth-Request-Token', 'Authorization']

/** All that an answer has, without the delegated token where it belongs. */
function textOf(answer: IngressAnswer, delegated: string | undefined): string {
  const text = answer.raw.map(([name, value]) => `${name}: ${value}`).join('\n')
  const known = DELEGATED.flatMap((name) => answer.values(name)).filter(
    (value) => delegated !== undefined && value.endsWith(delegated),
  )
  return known.reduce((rest, value) => rest.replace(value, ''), `${text}\n${answer.body}`)
}

const QUERIES = [
  'scope=write:all',
  'delegate_to=tap&delegate_scope=read:all',
  'notebook=1&use_authorization=1',
]

/** Queries with a token where it does not belong. */
const queriesWith = (token: string): string[] =>
  [
    ...['scope', 'satisfy', 'delegate_to', 'delegate_scope', 'service', 'username', 'only_service'],
    ...['minimum_lifetime', 'notebook', 'auth_type', 'allow_cookies', 'user_domain', token],
  ].map((name) => `${encodeURIComponent(name)}=${encodeURIComponent(token)}`)

/** Headers that present a token, and some that have it where it does not belong. */
const headersWith = (token: string) => [
  { Authorization: `Bearer ${token}`, 'User-Agent': token, 'X-Original-URL': `/${token}` },
  { Cookie: `${stateCookie(t.h, token)}; sid=${token}; x=${token}`, 'X-Requested-With': token },
  { Authorization: [`Token ${token}`, `${token} x`, basic('a', token)], 'X-Original-Method': token },
  { Authorization: basic(token, formatToken(generateToken())), 'X-Forwarded-For': token },
]

it('no bearer string of a user is in a response, the log or a metric, and a delegated one only in the fields for it', async () => {
  const session = await t.h.session('wren', ['read:all', 'exec:notebook'])
  const forged = `gt-${parseToken(session).key}.${parseToken(formatToken(generateToken())).secret}`
  const users = [
    ...[session, forged, formatToken(generateToken()), t.h.bootstrapToken],
    ...[
      await t.plant({ type: 'oidc' }),
      await t.plant({ isInDatabase: false }),
      await t.plant({ endsIn: 299 }),
    ],
  ]
  t.expectErrors()
  const texts: string[] = []
  const secrets = new Set(users)
  const keep = async (...asked: Parameters<typeof askIngress>) => {
    const answer = await askIngress(...asked)
    const delegated = answer.values('X-Auth-Request-Token').at(-1)
    if (delegated !== undefined) secrets.add(delegated)
    texts.push(textOf(answer, delegated))
  }
  for (const token of users) {
    for (const headers of headersWith(token)) {
      for (const query of QUERIES) await keep(t.h.authUrl, query, headers)
      await keep(t.h.authUrl, '', headers, { path: '/ingress/anonymous' })
    }
  }
  for (const query of queriesWith(session)) {
    for (const headers of headersWith(session)) await keep(t.h.authUrl, query, headers)
  }
  texts.push((await send(new URL('/metrics', t.h.url).href)).body)
  texts.push(...t.h.logLines.map((line) => JSON.stringify(line)))
  expect(secrets.size).toBeGreaterThan(users.length)
  const parts = [...secrets].flatMap((bearer) => [bearer, parseToken(bearer).secret])
  for (const text of texts) {
    const found = parts.find((part) => text.includes(part))
    if (found) expect.fail(`the secret ${found} is in ${text}`)
  }
})
