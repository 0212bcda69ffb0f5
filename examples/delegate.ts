// Delegates some of a user's scopes to a service, twice: the second time the first token is reused.
//
//   PORTHOR_TOKEN=gt-... npx tsx examples/delegate.ts image-cutouts read:all
import { createPorthorClient, type DelegatedToken, PorthorClientError } from 'porthor/client'

const { PORTHOR_URL = 'http://127.0.0.1:4000/graphql', PORTHOR_TOKEN = '' } = process.env
const [service = 'image-cutouts', ...scopes] = process.argv.slice(2)

const print = (line: string) => process.stdout.write(`${line}\n`)

/** `token.token` is the bearer string, for the service alone: it is never printed. */
const describe = (token: DelegatedToken) =>
  `${token.key} for ${token.service}: scopes [${token.scopes.join(' ')}], expires ${token.expiresAt}, source ${token.source}`

try {
  const porthor = createPorthorClient({ url: PORTHOR_URL, token: PORTHOR_TOKEN })

  const { user, token } = await porthor.viewer()
  print(`Current token: ${user.username} with [${token.scopes.join(' ')}]`)

  const delegated = await porthor.internalToken({ service, scopes })
  print(describe(delegated))

  const again = await porthor.internalToken({ service, scopes })
  print(describe(again))

  // The service, in turn, uses the token that it received.
  const { token: received } = await porthor.withToken(delegated.token).viewer()
  print(`The service holds [${received.scopes.join(' ')}]`)
} catch (error) {
  if (!(error instanceof PorthorClientError)) throw error
  const advice: Readonly<Record<string, string>> = {
    UNAUTHENTICATED: 'Set PORTHOR_TOKEN to the token of a session.',
    INSUFFICIENT_LIFETIME: 'The session expires too soon: log in again.',
  }
  process.stderr.write(`${error.code}: ${error.message}\n${advice[error.code] ?? ''}\n`)
  process.exitCode = error.retryable ? 75 : 1
}
