import { METHODS } from 'node:http'
import { describe, expect, it } from 'vitest'
import { usePorthor } from '../../support/porthor/use-porthor.ts'
import { sendRaw, statusesIn } from '../../support/requests/raw-http.ts'
import { AUTH_ENV, basic } from './policies.ts'

const api = usePorthor('postgres', AUTH_ENV)

interface RawRequest {
  readonly method?: string
  readonly target?: string
  readonly fields?: readonly string[]
  readonly body?: string
}

/** What a gateway learns: the status, the policy, the user and the service and scopes of what was delegated. */
async function ask(
  bearer: string,
  { method = 'GET', target = '/auth/tap', fields = [], body = '' }: RawRequest,
) {
  const text = await sendRaw(
    api.h.authUrl,
    [
      `${method} ${target} HTTP/1.1`,
      'Host: porthor',
      'Connection: close',
      `Authorization: Bearer ${bearer}`,
      ...fields,
      ...(body ? [`Content-Length: ${body.length}`] : []),
      '',
      body,
    ].join('\r\n'),
  )
  const field = (name: string) => new RegExp(`^${name}: (.*)\r$`, 'm').exec(text)?.[1]
  return {
    status: statusesIn(text).at(-1),
    policy: field('X-Auth-Request-Policy'),
    user: field('X-Auth-Request-User'),
    scopes: field('X-Auth-Request-Scopes'),
    service: field('X-Auth-Request-Service'),
    token: field('X-Auth-Request-Token'),
  }
}

/** Headers by which some gateway or framework states a URL, a method, a client or a user. */
const STATED = [
  ...['URL', 'URI', 'Method', 'Host', 'Path', 'Query', 'Forwarded-For'].map((name) => `X-Original-${name}`),
  ...[
    'For',
    'Host',
    'Port',
    'Proto',
    'Uri',
    'Method',
    'Server',
    'User',
    'Email',
    'Groups',
    'Preferred-Username',
    'Access-Token',
    'Prefix',
    'Path',
    'Query',
  ].map((name) => `X-Forwarded-${name}`),
  ...['User', 'Email', 'Uid', 'Groups', 'Scopes', 'Service', 'Token', 'Policy', 'Redirect'].flatMap(
    (name) => [`X-Auth-Request-${name}`, `X_Auth_Request_${name}`, `X.Auth.Request.${name}`],
  ),
  ...[
    'Forwarded',
    'X-Real-IP',
    'X-Rewrite-URL',
    'X-HTTP-Method-Override',
    'X-Method-Override',
    'X-Remote-User',
    'Remote-User',
  ],
  ...[
    'X-Envoy-Original-Path',
    'X-Envoy-External-Address',
    'X-Ext-Authz-Check-Result',
    'X-Porthor-Policy',
    'X-Porthor-Subject-Token',
  ],
  ...[
    'Proxy-Authorization',
    'X-Authorization',
    'Authorization_',
    'X-Forwarded-Authorization',
    'Via',
    'Origin',
    'Referer',
    'TE',
    'Trailer',
    'Range',
    'If-None-Match',
  ],
]

/** Values with which a client would choose a policy or be somebody else. */
const VALUES = ['/auth/open', 'https://x.org/auth/mine?delegate_to=portal']

const QUERIES = [
  'delegate_to=portal',
  'delegate_to=portal&delegate_scope=admin:token',
  'notebook=true',
  'policy=open',
  'require=',
  'username=ada',
  'scope=',
  'satisfy=any',
  'anonymous=true',
  'minimum_lifetime=1',
  'use_authorization=false',
  'authorization=keep',
  'access_token=gt-x',
  '/auth/open',
  '?/../open',
  '%00',
  '%2e%2e%2fopen',
]

const BELOW = [
  '/',
  '//',
  '/../open',
  '/../../auth/open',
  '/..',
  '/./',
  '/%2e%2e/open',
  '/..%2fopen',
  '/%2F..%2Fopen',
  '/open',
  '/;/open',
  '/\\open',
  '/a/b/c.php',
  '/%00',
  '/%',
  '/auth/open',
  '//auth/open',
  `/${'x'.repeat(8_000)}`,
]

const OTHER_TARGETS = [
  '/auth',
  '/auth/',
  '/auth//tap',
  '//auth/tap',
  '/./auth/tap',
  '/x/../auth/tap',
  '/AUTH/tap',
  '/auth/TAP',
  '/auth/t%61p',
  '/%61uth/tap',
  '/auth%2Ftap',
  '/auth/tap%2F',
  '/auth/tap;x',
  '/auth/tap.',
  '/auth/tap%00',
  '/auth\\tap',
  '/auth/../auth/tap',
  '/auth/./tap',
  '/auth/.',
  '/auth/..',
  '/auth/__proto__',
  '/auth/constructor',
  '/auth/tap,open',
  '/ingress/auth',
  '/ingress/anonymous',
  '/graphql',
  '/metrics',
  '/readyz',
  '*',
  'auth/tap',
]

describe('a client changes neither policy nor identity, and gets what the policy says,', () => {
  const cases: (readonly [string, RawRequest])[] = [
    ...QUERIES.map((query) => [`by the query ${query}`, { target: `/auth/tap?${query}` }] as const),
    ...BELOW.map(
      (path) =>
        [`by the path ${path.slice(0, 20)} below the policy`, { target: `/auth/tap${path}` }] as const,
    ),
    ['by a target in absolute form', { target: 'http://evil.org/auth/tap' }],
    ...STATED.map(
      (name) => [`by the header ${name}`, { fields: VALUES.map((value) => `${name}: ${value}`) }] as const,
    ),
    ...METHODS.filter((method) => method !== 'CONNECT').map(
      (method) => [`by the method ${method}`, { method }] as const,
    ),
    ['by a body', { method: 'POST', body: 'policy=open&username=ada&grant_type=x' }],
    [
      'by a body of JSON',
      { method: 'PUT', fields: ['Content-Type: application/json'], body: '{"policy":"open"}' },
    ],
    ['by a body of a GET', { body: 'GET /auth/open HTTP/1.1\r\nHost: x\r\n\r\n' }],
    [
      'by 60 KiB of headers',
      { fields: Array.from({ length: 60 }, (_, n) => `X-${n}: ${'x'.repeat(1_000)}`) },
    ],
    ['by 5,000 headers', { fields: Array.from({ length: 5_000 }, (_, n) => `x${n}: y`) }],
    ['by cookies', { fields: ['Cookie: session=gt-x; policy=open', 'Cookie: session=ada'] }],
    ['by bytes that are not ASCII', { fields: ['X-Forwarded-User: \u00e9\u00ff', 'X-A: \t'] }],
    ['by an upgrade', { fields: ['Upgrade: websocket', 'Sec-WebSocket-Key: x'] }],
    ['by an expectation', { fields: ['Expect: 100-continue'] }],
  ]

  it.each(cases)('%s', async (_what, request) => {
    const bearer = await bearerOfWren()
    const answer = await ask(bearer, request)
    expect(answer).toEqual({
      status: 200,
      policy: 'tap',
      user: 'wren',
      scopes: 'read:all',
      service: '',
      token: expect.stringMatching(/^gt-/),
    })
    const { scopes, ...child } = await api.h.stored(answer.token ?? '')
    expect({ scopes, child }).toMatchObject({
      scopes: ['read:all'],
      child: { type: 'internal', service: 'tap' },
    })
  })
})

describe('what is no policy is refused, and nothing is delegated:', () => {
  it.each(OTHER_TARGETS)('%s', async (target) => {
    const { status, policy, token } = await ask(await bearerOfWren(), { target })
    expect([400, 404]).toContain(status)
    expect({ policy, token }).toEqual({ policy: undefined, token: undefined })
  })
})

describe('what a client does wrong is never a 5xx, and never passes:', () => {
  const REFUSED: readonly (readonly [string, RawRequest | ((bearer: string) => RawRequest), number])[] = [
    ['a second Authorization', { fields: ['Authorization: Bearer gt-x'] }, 403],
    [
      'a second Authorization behind 5,000 headers',
      { fields: [...Array.from({ length: 5_000 }, (_, n) => `x${n}: y`), 'Authorization: x'] },
      403,
    ],
    ['a second Authorization of another scheme', { fields: [`authorization: ${basic('a', 'b')}`] }, 403],
    ['an empty second Authorization', { fields: ['Authorization:'] }, 403],
    ['over 64 KiB of headers', { fields: [`X: ${'x'.repeat(66_000)}`] }, 431],
    ['a target of over 64 KiB', { target: `/auth/tap/${'x'.repeat(66_000)}` }, 431],
    ['a target that is not ASCII', { target: '/auth/tap/é' }, 400],
    ['a fragment', { target: '/auth/tap#open' }, 400],
    ['a second Host', { fields: ['Host: evil.org'] }, 400],
    ['an unknown method', { method: 'STEAL' }, 400],
    ['an unknown expectation', { fields: ['Expect: cake'] }, 417],
    ['a header without a colon', { fields: ['X-Forwarded-User'] }, 400],
    ['a space in a header name', { fields: ['X-Auth-Request-User : ada'] }, 400],
    ['a folded header', { fields: ['X-A: b', ' X-Auth-Request-User: ada'] }, 400],
    [
      'a length and chunks',
      { method: 'POST', fields: ['Transfer-Encoding: chunked', 'Content-Length: 3'], body: '0\r\n\r\n' },
      400,
    ],
  ]

  it.each(REFUSED)('%s', async (_what, request, expected) => {
    const bearer = await bearerOfWren()
    const { status, token } = await ask(bearer, typeof request === 'function' ? request(bearer) : request)
    expect({ status, token }).toEqual({ status: expected, token: undefined })
  })

  it('what follows a request with a body is not read: a gateway may have left the body out', async () => {
    const bearer = await bearerOfWren()
    const head = `POST /auth/tap HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${bearer}\r\nContent-Length: 9\r\n\r\n`
    const text = await sendRaw(api.h.authUrl, `${head}012345678GET /auth/open HTTP/1.1\r\nHost: x\r\n\r\n`)
    expect(text.match(/^HTTP\/1\.1 /gm)).toHaveLength(1)
    expect(text).toMatch(/^Connection: close\r$/m)
  })
})

let wren: string | undefined

/** One session for all requests. */
async function bearerOfWren(): Promise<string> {
  wren ??= await api.h.session('wren', ['read:all'])
  return wren
}

describe('a request passes as', () => {
  /** As each gateway sends it: path, query, method and headers. */
  const SHAPES: readonly (readonly [string, RawRequest])[] = [
    [
      'Traefik sends it',
      {
        target: '/auth/tap',
        fields: [
          'X-Forwarded-Method: DELETE',
          'X-Forwarded-Proto: https',
          'X-Forwarded-Host: x.org',
          'X-Forwarded-Uri: /a?b=c',
          'X-Forwarded-For: 192.0.2.1',
          'Content-Length: 0',
          'Accept-Encoding: gzip',
        ],
      },
    ],
    [
      'Envoy sends it: the path, query and method of the client below the prefix',
      {
        method: 'POST',
        target: '/auth/tap/a/b?delegate_to=portal',
        fields: [
          'x-forwarded-proto: https',
          'x-request-id: 1',
          'x-envoy-internal: true',
          'x-envoy-expected-rq-timeout-ms: 200',
          'x-forwarded-for: 192.0.2.1,10.0.0.1',
          'content-length: 0',
        ],
      },
    ],
    [
      'Istio sends it: an extension provider with a path prefix',
      {
        method: 'PUT',
        target: '/auth/tap//a/../b',
        fields: [
          'x-b3-traceid: 1',
          'x-envoy-attempt-count: 1',
          'x-forwarded-client-cert: By=spiffe://x',
          'content-length: 0',
        ],
      },
    ],
    [
      'the Gateway API sends it: an external authorization filter over HTTP',
      { method: 'OPTIONS', target: '/auth/tap/a', fields: ['x-forwarded-host: x.org', 'content-length: 0'] },
    ],
    [
      'NGINX sends it by HTTP/1.1 without a body',
      {
        target: '/auth/tap',
        fields: ['X-Original-URI: /a', 'X-Original-Method: POST', 'X-Forwarded-For: 192.0.2.1'],
      },
    ],
  ]

  it.each(SHAPES)('%s', async (_what, request) => {
    const bearer = await bearerOfWren()
    expect(await ask(bearer, request)).toMatchObject({ status: 200, policy: 'tap', user: 'wren' })
    const none = await api.h.session('rook', [])
    expect(await ask(none, request)).toMatchObject({ status: 403, policy: 'tap', token: undefined })
    const expired = await api.plant({ scopes: ['read:all'], endsIn: -1 })
    expect(await ask(expired, request)).toMatchObject({ status: 401, policy: 'tap', token: undefined })
  })
})
