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
  for (const token of users) {
    const encoded = encodeURIComponent(token)
    for (const query of [
      ...['', 'scope=write:all', 'delegate_to=tap&delegate_scope=read:all', 'notebook=1&use_authorization=1'],
      ...['minimum_lifetime=1e9', 'satisfy=x', 'user_domain=x', 'auth_type=basic', 'only_service=x'],
      ...['scope', 'satisfy', 'delegate_to', 'delegate_scope', 'service', 'username', 'only_service'].map(
        (name) => `${name}=${encoded}&delegate_to=tap`,
      ),
      ...['minimum_lifetime', 'notebook', 'auth_type', 'allow_cookies'].map((name) => `${name}=${encoded}`),
      `${encoded}=1`,
    ]) {
      for (const headers of [
        { Authorization: `Bearer ${token}`, 'User-Agent': token, 'X-Original-URL': `/${token}` },
        { Cookie: `${stateCookie(t.h, token)}; sid=${token}; x=${token}`, 'X-Requested-With': token },
        { Authorization: [`Token ${token}`, `${token} x`, basic('a', token)], 'X-Original-Method': token },
        { Authorization: basic(token, formatToken(generateToken())), 'X-Forwarded-For': token },
      ]) {
        for (const path of ['/ingress/auth', '/ingress/anonymous']) {
          const answer = await askIngress(t.h.authUrl, query, headers, { path })
          const delegated = answer.values('X-Auth-Request-Token').at(-1)
          if (delegated !== undefined) secrets.add(delegated)
          texts.push(textOf(answer, delegated))
        }
      }
    }
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
