import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { describe, expect, it, onTestFinished } from 'vitest'
import { formatToken } from '../../src/domain/token.ts'
import { makeGateway } from '../support/porthor/gateway.ts'
import { usePorthor } from '../support/porthor/use-porthor.ts'
import { send } from '../support/requests/http.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

describe('examples/login-service.ts', () => {
  const t = usePorthor('postgres')

  /** Starts it as its first lines say. */
  const start = async () => {
    const service = await makeGateway(t.h, { username: 'bot-login', scopes: ['admin:token'] })
    const env = {
      PATH: process.env.PATH,
      PORTHOR_URL: t.h.url,
      PORTHOR_TOKEN: formatToken(service.token),
      GROUP_SCOPES: '{"astronomers":["read:all"]}',
      PORT: '0',
    }
    const command = ['--import', 'tsx', 'examples/login-service.ts']
    const child = spawn(process.execPath, command, { cwd: ROOT, env })
    onTestFinished(() => void child.kill())
    const [line] = (await once(child.stdout.setEncoding('utf8'), 'data')) as [string]
    return /http:\S+\d/.exec(line)?.[0] ?? expect.fail(line)
  }
  const logIn = (url: string, username: string, rd = '/portal') =>
    send(`${url}/login?rd=${encodeURIComponent(rd)}`, {
      headers: {
        'X-Forwarded-Preferred-Username': username,
        'X-Forwarded-Groups': 'astronomers,others',
        'X-Forwarded-Email': 'wren@example.org',
      },
    })
  const tokenIn = ([cookie = '']: readonly string[] = []) => /=(gt-[^;]+);/.exec(cookie)?.[1] ?? ''

  it('gives a user who has logged in a session in a cookie, with the scopes of the groups, and revokes it at log-out', async () => {
    const url = await start()
    const { status, headers } = await logIn(url, 'Wren')
    expect([status, headers.location]).toEqual([303, '/portal'])
    expect(headers['set-cookie']?.[0]).toMatch(/^porthor=gt-\S+; Path=\/; HttpOnly; Secure; SameSite=Lax$/)
    const token = tokenIn(headers['set-cookie'])
    expect(await t.h.stored(token)).toMatchObject({
      username: 'wren',
      type: 'session',
      scopes: ['read:all', 'user:token'],
      userInfo: { email: 'wren@example.org' },
    })

    const headersOut = { Cookie: `a=b; porthor=${token}` }
    for (const _time of ['the first', 'the second']) {
      const out = await send(`${url}/logout`, { method: 'POST', headers: headersOut })
      expect([out.status, out.headers['set-cookie']?.[0]]).toEqual([
        303,
        expect.stringMatching(/^porthor=; .*Max-Age=0$/),
      ])
    }
    expect(await t.h.ask('{ scopes { name } }', { token })).toMatchObject({ code: 'UNAUTHENTICATED' })
  })

  it('leads to no other site, and gives no session for a name that is not valid', async () => {
    const url = await start()
    for (const rd of ['https://example.com/', '//example.com', '/\\example.com', 'portal', '/a b']) {
      expect((await logIn(url, 'wren', rd)).headers.location).toBe('/')
    }
    const refused = await logIn(url, '')
    expect([refused.status, refused.headers['set-cookie']]).toEqual([403, undefined])
  })
})
