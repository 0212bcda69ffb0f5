// A service behind a gateway: it responds with what the delegated token says of the user.
// node examples/gateways/service.mjs
import { createServer } from 'node:http'

const PORTHOR = process.env.PORTHOR_URL ?? 'http://127.0.0.1:4000/graphql'
const PORT = Number(process.env.PORT ?? 9000)

const query = '{ viewer { user { username } token { type service scopes expiresAt } } }'

createServer(async (request, response) => {
  const { authorization = '' } = request.headers
  try {
    const checked = await fetch(PORTHOR, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', Authorization: authorization },
      body: JSON.stringify({ query }),
    })
    response.writeHead(checked.status, { 'Content-Type': 'application/json' }).end(await checked.text())
  } catch {
    response.writeHead(503, { 'Retry-After': '1' }).end('Porthor is unavailable\n')
  }
}).listen(PORT, '127.0.0.1')
