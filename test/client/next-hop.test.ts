import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { describe, expect, it, onTestFinished } from 'vitest'
import { formatToken, generateToken } from '../../src/domain/token.ts'
import { usePorthor } from '../support/porthor/use-porthor.ts'
import { send } from '../support/requests/http.ts'
import { bearer, exchangeOf, postForm, serviceToken } from '../support/requests/oauth.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

// A process that compiles TypeScript takes its time to start on a busy machine.
describe('examples/next-hop.ts', { timeout: 120_000 }, () => {
  const t = usePorthor('postgres', {}, { isFresh: true })

  /** Runs it before a next service; returns its URL, and what the next service received. */
  const start = async (serviceTokenOfIt: string) => {
    const received: IncomingHttpHeaders[] = []
    const next = createServer(({ headers }, response) => {
      received.push(headers)
      response.end('an image')
    }).listen(0, '127.0.0.1')
    await once(next, 'listening')
    onTestFinished(() => void next.close())
    const env = {
      PATH: process.env.PATH,
      PORTHOR_URL: t.h.url,
      PORTHOR_TOKEN: serviceTokenOfIt,
      NEXT_URL: `http://127.0.0.1:${(next.address() as AddressInfo).port}/`,
      PORT: '0',
    }
    const child = spawn(process.execPath, ['--import', 'tsx', 'examples/next-hop.ts'], { cwd: ROOT, env })
    onTestFinished(() => void child.kill())
    let errors = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      errors += text
    })
    const [line] = (await once(child.stdout.setEncoding('utf8'), 'data')) as [string]
    const url = /http:\S+/.exec(line)?.[0] ?? expect.fail(`${line}${errors}`)
    return { url, received, errors: () => errors }
  }
  const tokenFor = async (subject: string, fields: Record<string, string>) =>
    String((await postForm(t.h, '/oauth/token', exchangeOf(subject, fields))).json.access_token)

  it('calls the next service with a token for that service, on behalf of the user, and never with the one it received', async () => {
    const { url, received, errors } = await start(await serviceToken(t.h, 'bot-mcp', ['introspect:token']))
    const session = await t.h.session('wren', ['read:all', 'read:tap'])
    const mcp = await tokenFor(session, { audience: 'mcp', scope: 'read:all read:tap' })
    const answer = await send(url, { headers: bearer(mcp) })
    expect([answer.status, answer.body, errors()]).toEqual([200, 'an image', ''])
    const sent = received[0]?.authorization?.replace('Bearer ', '') ?? ''
    expect([mcp, session]).not.toContain(sent)
    expect(await t.h.stored(sent)).toMatchObject({
      username: 'wren',
      service: 'images',
      scopes: ['read:all'],
    })
  })

  it('refuses what is no valid token for it, and decides nothing where Porthor cannot be asked', async () => {
    const { url, received } = await start(await serviceToken(t.h, 'bot-mcp', ['introspect:token']))
    const session = await t.h.session('wren', ['read:all', 'read:tap'])
    const statusOf = async (headers: Record<string, string>) => (await send(url, { headers })).status
    expect(await statusOf({})).toBe(401)
    for (const token of [
      session,
      formatToken(generateToken()),
      await tokenFor(session, { audience: 'other' }),
    ]) {
      expect(await statusOf(bearer(token))).toBe(401)
    }
    expect(await statusOf(bearer(await tokenFor(session, { audience: 'mcp', scope: 'read:tap' })))).toBe(403)
    const mcp = await tokenFor(session, { audience: 'mcp', scope: 'read:all' })
    await t.h.restart({ PORT: '1' })
    expect(await statusOf(bearer(mcp))).toBe(503)
    expect(received).toEqual([])
  })
})
