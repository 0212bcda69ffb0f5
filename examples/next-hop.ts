// A service between two others, such as an MCP server whose tools call an API. It checks the token that it received,
// exchanges it for one for the next service, on behalf of the same user, and calls that service.
//
//   PORTHOR_TOKEN=gt-... NEXT_URL=http://127.0.0.1:5001/ npx tsx examples/next-hop.ts
//
// PORTHOR_TOKEN is a service token of the bot PORTHOR_USERNAME, with the scope introspect:token. Where the server has
// DELEGATION=gateway, it needs delegate:token too, and the server DELEGATION_CHAINS=true.
import { createServer, type IncomingMessage } from 'node:http'

const {
  PORTHOR_URL = 'http://127.0.0.1:4000',
  PORTHOR_USERNAME = 'bot-mcp',
  PORTHOR_TOKEN = '',
  SERVICE = 'mcp',
  NEXT_SERVICE = 'images',
  NEXT_SCOPE = 'read:all',
  NEXT_URL = '',
  PORT = '5000',
} = process.env

const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token'

/** What this server responds. Nothing in it is secret. */
interface Reply {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
}

const unauthorized = (error: string): Reply => ({
  status: 401,
  headers: { 'WWW-Authenticate': `Bearer${error}` },
})
const UNAVAILABLE: Reply = { status: 503, headers: { 'Retry-After': '1' } }

/** Sends a form to Porthor. Returns `undefined` where the outcome is not known: the caller must not decide anything. */
async function postForm(path: string, fields: Record<string, string>) {
  // RFC 6749 2.3.1. Usernames and bearer strings have only characters that form encoding leaves as they are.
  const credentials = Buffer.from(`${PORTHOR_USERNAME}:${PORTHOR_TOKEN}`).toString('base64')
  const response = await fetch(new URL(path, PORTHOR_URL), {
    method: 'POST',
    headers: { Authorization: `Basic ${credentials}` },
    body: new URLSearchParams(fields),
  }).catch(() => undefined)
  if (!response || response.status === 429 || response.status >= 500) return undefined
  return { status: response.status, json: (await response.json()) as Record<string, unknown> }
}

async function handle({ headers }: IncomingMessage): Promise<Reply> {
  const [, received] = /^bearer +(\S+)$/i.exec(headers.authorization ?? '') ?? []
  if (!received) return unauthorized('')

  const checked = await postForm('/oauth/introspect', { token: received })
  if (!checked) return UNAVAILABLE
  if (checked.status !== 200) throw new Error(`introspection failed: ${checked.json.error}`)
  // A token that was issued for another service is no token for this one.
  if (checked.json.active !== true || checked.json.aud !== SERVICE)
    return unauthorized(' error="invalid_token"')

  const exchanged = await postForm('/oauth/token', {
    grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
    subject_token: received,
    subject_token_type: ACCESS_TOKEN,
    audience: NEXT_SERVICE,
    scope: NEXT_SCOPE,
  })
  if (!exchanged) return UNAVAILABLE
  if (exchanged.json.error === 'invalid_scope') {
    return {
      status: 403,
      headers: { 'WWW-Authenticate': `Bearer error="insufficient_scope", scope="${NEXT_SCOPE}"` },
    }
  }
  if (exchanged.status !== 200) throw new Error(`token exchange failed: ${exchanged.json.error}`)

  const next = await fetch(NEXT_URL, { headers: { Authorization: `Bearer ${exchanged.json.access_token}` } })
  return { status: next.status, body: await next.text() }
}

const server = createServer((request, response) => {
  handle(request).then(
    ({ status, headers = {}, body = '' }) => response.writeHead(status, headers).end(body),
    (error: unknown) => {
      process.stderr.write(`${error instanceof Error ? error.message : error}\n`)
      response.writeHead(502).end()
    },
  )
})

server.listen(Number(PORT), '127.0.0.1', () => {
  const address = server.address()
  const port = typeof address === 'object' ? address?.port : PORT
  process.stdout.write(`${SERVICE} listens on http://127.0.0.1:${port}/\n`)
})
