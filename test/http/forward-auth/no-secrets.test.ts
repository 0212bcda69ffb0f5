import { expect, it } from 'vitest'
import { formatToken, generateToken, parseToken } from '../../../src/domain/token.ts'
import { usePorthor } from '../../support/porthor/use-porthor.ts'
import { type HttpAnswer, send } from '../../support/requests/http.ts'
import { stateCookie } from '../../support/requests/ingress.ts'
import { AUTH_ENV, askGateway, basic, POLICIES } from './policies.ts'

const t = usePorthor('redis', AUTH_ENV)

const BEARER = /gt-[\w-]{22}\.[\w-]{22}/g

/** All that an answer has, without the delegated token where it belongs. */
function textOf({ headers, body }: HttpAnswer): string {
  const { 'x-auth-request-token': token, authorization, ...others } = headers
  const isDelegated = token !== '' && authorization === `Bearer ${token}`
  return JSON.stringify([others, body, isDelegated ? '' : authorization])
}

it('no bearer string of a user is in a response, the log or a metric, and a delegated one only in the fields for it', async () => {
  const session = await t.h.session('wren', ['read:all', 'exec:notebook'])
  const forged = formatToken({ ...generateToken(), key: parseToken(session).key })
  const users = [
    ...[session, forged, formatToken(generateToken()), t.h.bootstrapToken],
    ...[
      await t.plant({ type: 'oidc' }),
      await t.plant({ scopes: ['read:all'], isInDatabase: false }),
      await t.plant({ scopes: ['read:all'], endsIn: 299 }),
    ],
  ]
  t.expectErrors()
  const secrets = new Set(users)
  const texts: string[] = []
  const note = (answer: HttpAnswer) => {
    for (const [delegated] of String(answer.headers['x-auth-request-token']).matchAll(BEARER))
      secrets.add(delegated)
    texts.push(textOf(answer))
  }
  for (const token of users) {
    for (const headers of [
      { Authorization: `Bearer ${token}`, 'User-Agent': token, 'X-Original-URL': `/${token}` },
      { Cookie: `${stateCookie(t.h, token)}; session=${token}; x=${token}`, 'X-Request-Id': token },
      { Authorization: [`Token ${token}`, `${token} x`, basic('a', token)] },
      { Authorization: basic(token, formatToken(generateToken())), 'X-Forwarded-For': token },
      { Authorization: `Bearer ${token} ${token}`, 'X-Auth-Request-User': token },
    ]) {
      for (const policy of Object.keys(POLICIES)) note(await askGateway(t.h, policy, headers))
      for (const path of [token, `tap/${token}`, `tap?token=${token}`, `../${token}`]) {
        note(await askGateway(t.h, path, headers))
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
