import { formatToken, generateToken } from '../../../src/domain/token.ts'
import type { SecretRecorder } from '../../support/checks/secret-recorder.ts'
import type { Porthor } from '../../support/porthor/porthor.ts'
import { ACCESS_TOKEN, basic, bearer, exchangeOf, NOTEBOOK } from '../../support/requests/oauth.ts'

/** Sends requests with tokens in every place of the OAuth endpoints, right and wrong, and notes the responses. */
export async function driveOAuth(r: SecretRecorder, h: Porthor, given?: string): Promise<void> {
  const session = given ?? r.keep(await h.session('wren', ['read:all', 'user:token']))
  const stranger = r.keep(formatToken(generateToken()))
  const admin = bearer(h.bootstrapToken)
  const { audience, ...notebook } = exchangeOf(session)
  const fields = { ...notebook, audience, scope: 'read:all' }

  for (const request of [fields, { ...notebook, requested_token_type: NOTEBOOK }])
    await r.form('/oauth/token', request)
  await r.form(`/oauth/token?${new URLSearchParams(fields)}`, fields)
  for (const name of Object.keys(fields)) await r.form('/oauth/token', { ...fields, [name]: session })
  await r.form('/oauth/token', { ...fields, actor_token: session, actor_token_type: ACCESS_TOKEN })
  for (const name of [
    'resource',
    'actor_token',
    'requested_token_type',
    'minimum_lifetime',
    'client_secret',
    'x',
  ]) {
    await r.form('/oauth/token', { ...fields, [name]: session })
  }
  await r.form('/oauth/token', [...Object.entries(fields), [session, 'a'], [session, 'b']])
  await r.form('/oauth/token', exchangeOf(stranger))
  for (let child = session, depth = 0; depth < 6; depth += 1) {
    const body = await r.form('/oauth/token', exchangeOf(child))
    child = /gt-[\w-]{22}\.[\w-]{22}/.exec(body)?.[0] ?? child
  }

  for (const headers of [
    admin,
    basic('<bootstrap>', h.bootstrapToken),
    basic(session, session),
    basic(session, ''),
    bearer(session),
    bearer(stranger),
    { Authorization: `Digest ${session}` },
    {},
  ]) {
    for (const path of ['/oauth/introspect', '/oauth/token'])
      await r.form(path, { ...fields, token: session }, headers)
  }
  for (const token of [stranger, `${session} `, 'gt-']) await r.form('/oauth/introspect', { token }, admin)

  for (const path of ['/oauth/token', '/oauth/introspect', '/oauth/revoke']) {
    for (const body of [`token=${session}&token=${session}`, `${session}=%`, session])
      await r.form(path, body, admin)
    await r.form(path, { token: session }, { ...admin, 'Content-Type': `text/${session}` })
  }
  await r.form('/oauth/revoke', { token: h.bootstrapToken })
  for (const token of [stranger, session, session]) await r.form('/oauth/revoke', { token })
}
