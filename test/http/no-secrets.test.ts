import { describe, expect, it, onTestFinished } from 'vitest'
import { formatToken, generateToken, parseToken } from '../../src/domain/token.ts'
import { OAUTH_ERRORS } from '../../src/http/oauth/oauth-error.ts'
import { Fernet } from '../../src/lib/fernet.ts'
import { SecretRecorder, tokenIn } from '../support/checks/secret-recorder.ts'
import { plant } from '../support/porthor/planted-token.ts'
import { openPorthor, type Porthor, type StoreKind } from '../support/porthor/porthor.ts'
import { send } from '../support/requests/http.ts'
import { bearer as bearerOf, exchangeOf } from '../support/requests/oauth.ts'
import { driveOAuth } from './oauth/secret-requests.ts'

const VIEWER = '{ viewer { token { key } user { username } } }'
const INTERNAL = 'mutation ($service: String = "tap") { internalToken(service: $service) { token source } }'
const NOTEBOOK = 'mutation { notebookToken { token source } }'
const CLEAR = 'mutation { clearTokenCache { internal } }'
const create = (what: string, input: string) =>
  `mutation { create${what}Token(input: { ${input} }) { token info { key } } }`

/** Codes that a client can meet without a store at fault. */
const CODES = [
  'BAD_REQUEST',
  'BAD_USER_INPUT',
  'DUPLICATE_TOKEN_NAME',
  'GRAPHQL_PARSE_FAILED',
  'GRAPHQL_VALIDATION_FAILED',
  'INSUFFICIENT_LIFETIME',
  'INTERNAL_SERVER_ERROR',
  'INVALID_EXPIRES',
  'INVALID_MINIMUM_LIFETIME',
  'INVALID_SCOPES',
  'INVALID_SERVICE',
  'INVALID_TOKEN_NAME',
  'INVALID_USERNAME',
  'INVALID_USER_INFO',
  'NOT_FOUND',
  'PERMISSION_DENIED',
  'UNAUTHENTICATED',
  'UNAVAILABLE',
  ...OAUTH_ERRORS,
]

async function driveSuccesses(r: SecretRecorder, h: Porthor): Promise<void> {
  const admin = tokenIn(
    await r.ask(
      create('Session', 'username: "ada", scopes: ["admin:token", "user:token"]'),
      h.bootstrapToken,
    ),
  )
  const session = tokenIn(
    await r.ask(
      create(
        'Session',
        'username: "wren", scopes: ["user:token", "read:all"], userInfo: { name: "Wren", uid: 1 }',
      ),
      admin,
    ),
  )
  await r.ask(create('Service', 'username: "bot-ci", expiresAt: "2199-01-01T00:00:00Z"'), admin)
  const own = tokenIn(await r.ask(create('User', 'tokenName: "laptop", scopes: ["read:all"]'), session))
  for (const parent of [session, own]) {
    for (let time = 0; time < 2; time++) {
      await r.ask(INTERNAL, parent)
      await r.ask(NOTEBOOK, parent)
    }
    await r.ask(CLEAR, admin)
    await r.ask(INTERNAL, parent)
    await r.ask(VIEWER, parent)
    await r.ask('{ scopes { name description } }', parent)
  }
  const query = encodeURIComponent(VIEWER)
  r.note(await send(`${h.url}?query=${query}`, { headers: { Authorization: `Bearer ${session}` } }))
}

async function driveErrors(r: SecretRecorder, h: Porthor, store: StoreKind): Promise<void> {
  const session = tokenIn(
    await r.ask(create('Session', 'username: "wren", scopes: ["user:token"]'), h.bootstrapToken),
  )
  const { key } = parseToken(session)
  const planted = async (facts: Parameters<typeof plant>[2]) => r.keep(await plant(h, store, facts))

  const stranger = r.keep(formatToken(generateToken()))
  for (const bad of [
    stranger,
    `gt-${key}.${parseToken(stranger).secret}`,
    `${session}x`,
    session.slice(3),
    'gt-',
  ]) {
    await r.ask(VIEWER, bad)
  }
  for (const scheme of ['Basic', 'Token', '']) {
    const headers = { Authorization: `${scheme} ${session}`, Accept: 'application/json' }
    r.note(await send(`${h.url}?query=${encodeURIComponent(VIEWER)}`, { headers }))
  }
  await r.ask(INTERNAL, await planted({ endsIn: 299 }))
  await r.ask(VIEWER, await planted({ type: 'oidc' }))
  await r.ask(VIEWER, await planted({ isInDatabase: false }))
  await r.ask(INTERNAL, await planted({ isInDatabase: false }))
  for (const query of [INTERNAL, NOTEBOOK, VIEWER]) await r.ask(query, h.bootstrapToken)
  await r.ask(CLEAR, session)

  await r.ask(INTERNAL, session, { service: 'a b' })
  await r.ask('mutation { notebookToken(minimumLifetime: 1) { token } }', session)
  await r.ask(`mutation { internalToken(service: "a", scopes: ["${session}"]) { token } }`, session)
  await r.ask(create('User', `username: "${session}", tokenName: "a"`), h.bootstrapToken)
  await r.ask(create('User', 'tokenName: ""'), session)
  await r.ask(create('User', 'tokenName: "twice"'), session)
  await r.ask(create('User', 'tokenName: "twice"'), session)
  await r.ask(create('User', 'tokenName: "b", expiresAt: "2001-01-01T00:00:00Z"'), session)
  await r.ask(create('User', 'tokenName: "b", userInfo: { name: "x" }'), session)
  await r.ask(`{ token(key: "${session}") { key } }`, session)

  await r.post(`{"query": "{ __typename }", "variables": {"token": "${session}"`, session)
  await r.post(session, session)
  await r.ask(`{ ${session} }`, session)
  await r.ask(`{ viewer { "${session}" } }`, session)
  await r.ask(`mutation { notebookToken(minimumLifetime: "${session}") { token } }`, session)
  await r.ask('mutation ($m: Int) { notebookToken(minimumLifetime: $m) { token } }', session, { m: session })
  r.note(await send(`${h.url}?query={&token=${session}`))
  r.note(await send(`${new URL('/', h.url).href}${session}`))
}

/** Subjects of gateways: valid ones, others, and ones that this Porthor does not take. */
async function driveGateways(r: SecretRecorder, h: Porthor): Promise<void> {
  const gateway = tokenIn(
    await r.ask(create('Service', 'username: "bot-edge", scopes: ["delegate:token"]'), h.bootstrapToken),
  )
  const session = tokenIn(await r.ask(create('Session', 'username: "wren"'), h.bootstrapToken))
  const stranger = r.keep(formatToken(generateToken()))
  const subjects = [
    ...[session, stranger, `${session}x`, `${session}, Bearer ${stranger}`].map((each) => `Bearer ${each}`),
    `Basic ${session}`,
    session,
    `Bearer ${h.bootstrapToken}`,
  ]
  for (const DELEGATION of ['self', 'gateway']) {
    await h.restart({ DELEGATION })
    for (const subject of subjects) {
      for (const token of [gateway, session]) {
        await r.post(JSON.stringify({ query: INTERNAL }), token, { 'X-Porthor-Subject-Token': subject })
        await r.form('/oauth/token', exchangeOf(subject.replace(/^Bearer /, '')), bearerOf(token))
      }
    }
    // As an array, it is sent twice.
    const headers = { 'X-Porthor-Subject-Token': [gateway, session].map((each) => `Bearer ${each}`) }
    r.note(await send(h.url, { method: 'POST', headers }, ['{}']))
  }
  await h.restart()
}

/** Records that hold secrets in places where no reader expects them. */
async function driveDamage(r: SecretRecorder, h: Porthor, store: StoreKind): Promise<void> {
  const fernet = new Fernet([h.env.SESSION_SECRET ?? ''])
  const whole = { username: 'wren', token_type: 'user', scopes: [], created: 1_767_225_600, expires: null }
  for (const damage of [
    (bearer: string) => fernet.encrypt(JSON.stringify({ ...whole, token: bearer }), { now: new Date() }),
    (bearer: string) =>
      fernet.encrypt(JSON.stringify({ ...whole, token: { key: 1, secret: bearer } }), { now: new Date() }),
    (bearer: string) => fernet.encrypt(bearer, { now: new Date() }),
    (bearer: string) => bearer,
  ]) {
    const token = generateToken()
    const bearer = r.keep(formatToken(token))
    if (store === 'redis') await h.redis.set(`token:${token.key}`, damage(bearer))
    else
      await h.sql('INSERT INTO porthor_token_store (token, value) VALUES ($1, $2)', [
        token.key,
        damage(bearer),
      ])
    await r.ask(VIEWER, bearer)
    // The last of them is in the clear: not for the tables below to show.
    if (store === 'postgres') await h.sql('DELETE FROM porthor_token_store WHERE token = $1', [token.key])
  }
}

async function driveFaults(r: SecretRecorder, h: Porthor, store: StoreKind): Promise<void> {
  const session = tokenIn(await r.ask(create('Session', 'username: "rook"'), h.bootstrapToken))
  await r.look()
  await h.sql('ALTER TABLE token_change_history RENAME actor TO elsewhere')
  await r.ask(INTERNAL, session, { service: 'not-made' })
  await r.ask(create('Session', 'username: "wren"'), h.bootstrapToken)
  await h.sql('ALTER TABLE token RENAME scopes TO elsewhere')
  await r.ask(VIEWER, session)
  await driveOAuth(r, h, session)
  await r.look()

  await h.restart({ DATABASE_URL: r.keep('postgresql://porthor:Sesame-0pen-it@127.0.0.1:1/porthor') })
  for (const query of [INTERNAL, VIEWER]) await r.ask(query, session)
  await r.ask(create('Session', 'username: "wren"'), h.bootstrapToken)
  await r.form('/oauth/revoke', { token: session })
  if (store === 'redis') {
    await h.restart({ REDIS_URL: r.keep('redis://porthor:Sesame-1pen-it@127.0.0.1:1/0') })
    // At once, since each waits until Redis is given up.
    await Promise.all([
      ...[INTERNAL, VIEWER].map((query) => r.ask(query, session)),
      ...[CLEAR, create('Session', 'username: "wren"')].map((query) => r.ask(query, h.bootstrapToken)),
    ])
  }
}

// Hundreds of requests, and stores that do not respond.
describe.each(['redis', 'postgres'] as const)('over %s', { timeout: 120_000 }, (store) => {
  it('no secret is in a response, the log, an output or a stored value, except in the one field that returns a token', async () => {
    const h = await openPorthor({ store })
    onTestFinished(() => h.close())
    const r = new SecretRecorder(h)
    await driveSuccesses(r, h)
    await driveErrors(r, h, store)
    await driveGateways(r, h)
    await driveOAuth(r, h)
    await driveDamage(r, h, store)
    await driveFaults(r, h, store)

    expect([...r.codes()]).toEqual(expect.arrayContaining(CODES))
    expect(r.secrets.size).toBeGreaterThan(30)
    const log = h.logLines.map((line) => JSON.stringify(line))
    const stored = store === 'redis' ? await h.redis.mget(await h.redis.keys('*')) : []
    const damaged = (text: string | null) => text?.startsWith('gt-')
    for (const output of [
      ...log,
      ...r.withoutTokenFields(),
      ...r.outputs,
      ...stored.filter((text) => !damaged(text)),
    ]) {
      const found = [...r.secrets].find((secret) => output?.includes(secret))
      if (found) expect.fail(`the secret ${found} is in ${output}`)
    }
  })
})
