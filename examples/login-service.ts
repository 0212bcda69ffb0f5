// A login service: it gives a user who has just logged in a session of Porthor, in a cookie. A proxy in front, such as
// oauth2-proxy, lets users log in at an OpenID Connect provider, and states who they are in headers.
//
//   PORTHOR_TOKEN=gt-... GROUP_SCOPES='{"astronomers":["read:all"]}' npx tsx examples/login-service.ts
//
// PORTHOR_TOKEN is a service token with the scope admin:token. The proxy must be the only one that reaches this service.
import { createServer, type IncomingMessage } from 'node:http'
import { createPorthorClient, PorthorClientError } from 'porthor/client'

const {
  PORTHOR_URL = 'http://127.0.0.1:4000/graphql',
  PORTHOR_TOKEN = '',
  GROUP_SCOPES = '{}',
  SESSION_COOKIE = 'porthor',
  PORT = '5000',
} = process.env

const porthor = createPorthorClient({ url: PORTHOR_URL, token: PORTHOR_TOKEN })
const scopesOfGroups = new Map<string, string[]>(Object.entries(JSON.parse(GROUP_SCOPES)))

/** Scopes of every user. With user:token, users see, create and revoke their own tokens. */
const SCOPES_OF_ALL = ['user:token']

/** What this server responds. */
interface Reply {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string
}

/** Scripts cannot read the cookie, and other sites can only link here. `Secure`: browsers send it by TLS only. */
const setCookie = (value: string, maxAge = ''): string =>
  `${SESSION_COOKIE}=${value}; Path=/; HttpOnly; Secure; SameSite=Lax${maxAge}`

async function logIn({ headers, url = '/' }: IncomingMessage): Promise<Reply> {
  const username = String(headers['x-forwarded-preferred-username'] ?? '').toLowerCase()
  const groups = String(headers['x-forwarded-groups'] ?? '').split(',')
  const scopes = groups.flatMap((group) => scopesOfGroups.get(group) ?? [])
  const email = headers['x-forwarded-email']
  const input = {
    username,
    scopes: [...SCOPES_OF_ALL, ...scopes],
    ...(typeof email === 'string' && { userInfo: { email } }),
  }
  const { token } = await porthor.createSessionToken({ input })
  return redirect(new URL(url, 'http://localhost').searchParams.get('rd'), setCookie(token))
}

/** Revokes the session, with all tokens that were delegated from it. */
async function logOut({ headers }: IncomingMessage): Promise<Reply> {
  const cookies = headers.cookie?.split('; ') ?? []
  const token = cookies
    .find((each) => each.startsWith(`${SESSION_COOKIE}=`))
    ?.slice(SESSION_COOKIE.length + 1)
  const [, key] = /^gt-([\w-]{22})\./.exec(token ?? '') ?? []
  if (token && key) {
    // The holder of a token may always revoke it.
    const revoked = porthor.withToken(token).revokeToken({ key })
    await revoked.catch((error: unknown) => {
      if (!(error instanceof PorthorClientError) || error.code !== 'UNAUTHENTICATED') throw error
    })
  }
  return redirect('/', setCookie('', '; Max-Age=0'))
}

/** Only to a path of this site: otherwise a link here could lead users to any other. */
const redirect = (target: string | null, cookie: string): Reply => ({
  status: 303,
  headers: {
    Location: target && /^\/(?![/\\])[\x21-\x7e]*$/.test(target) ? target : '/',
    'Set-Cookie': cookie,
    'Cache-Control': 'no-store',
  },
})

async function handle(request: IncomingMessage): Promise<Reply> {
  const path = request.url?.split('?', 1)[0]
  if (request.method === 'GET' && path === '/login') return logIn(request)
  // Not GET: a link or an image of another site would log users out.
  if (request.method === 'POST' && path === '/logout') return logOut(request)
  return { status: 404, headers: {}, body: 'GET /login or POST /logout\n' }
}

const server = createServer((request, response) => {
  handle(request).then(
    ({ status, headers, body = '' }) => response.writeHead(status, headers).end(body),
    (error: unknown) => {
      const code = error instanceof PorthorClientError ? error.code : 'INTERNAL'
      process.stderr.write(`${code}: ${error instanceof Error ? error.message : error}\n`)
      const isRetryable = error instanceof PorthorClientError && error.retryable
      response.writeHead(isRetryable ? 503 : code === 'INVALID_USERNAME' ? 403 : 500).end(`${code}\n`)
    },
  )
})

server.listen(Number(PORT), '127.0.0.1', () => {
  const address = server.address()
  const port = typeof address === 'object' ? address?.port : PORT
  process.stdout.write(`the login service listens on http://127.0.0.1:${port}/\n`)
})
