import { once } from 'node:events'
import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { usePorthor } from '../../support/porthor/use-porthor.ts'
import { send } from '../../support/requests/http.ts'
import { bearer, exchangeOf, postForm, serviceToken } from '../../support/requests/oauth.ts'
import { openRaw, sendRaw, statusesIn } from '../../support/requests/raw-http.ts'

const PATHS = ['/oauth/token', '/oauth/introspect', '/oauth/revoke'] as const

describe.each(['redis', 'postgres'] as const)(
  'requests to the OAuth endpoints, with tokens in %s,',
  { timeout: 60_000 },
  (store) => {
    // Else most of the random requests would be refused unread.
    const t = usePorthor(store, { AUTH_FAILURES_PER_MINUTE: '0' })
    const admin = () => bearer(t.h.bootstrapToken)
    /** Status and error of each endpoint. */
    const outcomes = (body: string | Buffer, headers = {}) =>
      Promise.all(
        PATHS.map(async (path) => {
          const {
            status,
            json,
            headers: received,
          } = await postForm(t.h, path, body, {
            ...admin(),
            ...headers,
          })
          expect(received['cache-control']).toBe('no-store')
          expect(received.pragma).toBe('no-cache')
          expect(json.error_description).toMatch(/^[\x20-\x21\x23-\x5b\x5d-\x7e]+$/)
          return [status, json.error]
        }),
      )
    const all = (status: number, error = 'invalid_request') => PATHS.map(() => [status, error])

    it('must be application/x-www-form-urlencoded, in UTF-8, and not compressed', async () => {
      const form = new URLSearchParams(exchangeOf(await t.h.session())).toString()
      const types = ['application/json', 'text/plain', 'multipart/form-data; boundary=x', '']
      for (const type of [...types, 'application/x-www-form-urlencoded; charset=utf-16']) {
        expect([type, await outcomes(form, { 'Content-Type': type })]).toEqual([type, all(415)])
      }
      expect(await outcomes(gzipSync(form), { 'Content-Encoding': 'gzip' })).toEqual(all(415))
      for (const type of [
        'Application/X-WWW-Form-Urlencoded',
        'application/x-www-form-urlencoded;charset=UTF-8',
      ]) {
        expect((await postForm(t.h, '/oauth/token', form, { 'Content-Type': type })).status).toBe(200)
      }
    })

    it('must have each parameter once, in whatever encoding its name is, with or without a value', async () => {
      for (const body of [
        'token=a&token=b',
        'token=a&token=a',
        'token=a&%74oken=b',
        'token=a&token=',
        'token&token',
        'scope=a&scope=b&token=a',
        'other=a&other=b&token=a',
      ]) {
        expect([body, await outcomes(body)]).toEqual([body, all(400)])
      }
    })

    it('must be encoded as the media type requires: nothing is guessed', async () => {
      for (const body of [
        'token=%',
        'token=%4',
        'token=%zz',
        'token=%ff',
        'token=%c0%80',
        'token=%ed%a0%80',
      ]) {
        expect([body, await outcomes(body)]).toEqual([body, all(400)])
      }
      expect(await outcomes(Buffer.from([0x74, 0x3d, 0xff]))).toEqual(all(400))
      expect(await outcomes('')).toEqual(all(400))
      expect(await outcomes('a=1&'.repeat(101))).toEqual(all(400))
    })

    it('may have parameters that are not known, empty ones, and an ampersand too many', async () => {
      const session = await t.h.session()
      const form = new URLSearchParams(exchangeOf(session)).toString()
      const body = `&${form}&&x=1&%00=%00&=&__proto__=1&constructor=2&scope=&`
      expect((await postForm(t.h, '/oauth/token', body)).status).toBe(200)
      const { json } = await postForm(t.h, '/oauth/introspect', `token=${session}&%00=%00&x`, admin())
      expect(json.active).toBe(true)
    })

    it('are read from the body only: parameters of the URL are ignored', async () => {
      const session = await t.h.session()
      const query = new URLSearchParams({ ...exchangeOf(session), token: session, access_token: session })
      for (const path of PATHS) {
        const { status, json } = await postForm(t.h, `${path}?${query}`, 'x=1', admin())
        expect([status, json.error]).toEqual([400, 'invalid_request'])
      }
      const { audience: _left, ...fields } = exchangeOf(session)
      expect((await postForm(t.h, '/oauth/token?audience=tap', fields)).status).toBe(400)
      expect((await t.h.ask('{ viewer { user { username } } }', { token: session })).errors).toEqual([])
    })

    it('are answered with JSON and without an error of the server, whatever the body is', async () => {
      const session = await t.h.session()
      const names = [
        ...Object.keys(exchangeOf('')),
        'scope',
        'token',
        'resource',
        'actor_token',
        'minimum_lifetime',
      ]
      const value = fc.oneof(
        fc.constantFrom(session, '', 'a', ...Object.values(exchangeOf(''))),
        fc.string({ unit: 'binary', maxLength: 70 }),
      )
      const form = fc
        .array(fc.tuple(fc.constantFrom(...names), value), { maxLength: 12 })
        .map((fields) => new URLSearchParams(fields).toString())
      const part = fc.oneof(
        form,
        fc.string({ maxLength: 20 }),
        fc.constantFrom('&', '=', '%', '%00', '%ff', '+'),
      )
      const body = fc.oneof(
        form,
        fc.array(part, { maxLength: 6 }).map((parts) => parts.join('')),
        fc.uint8Array({ maxLength: 100 }).map((bytes) => Buffer.from(bytes)),
      )
      // Revocation is left out: it would end the session.
      const path = fc.constantFrom('/oauth/token', '/oauth/introspect')
      await fc.assert(
        fc.asyncProperty(path, body, async (to, sent) => {
          const { status, json } = await postForm(t.h, to, sent, admin())
          expect([200, 400]).toContain(status)
          expect(json).toHaveProperty(
            status === 200 ? (to === '/oauth/token' ? 'access_token' : 'active') : 'error',
          )
        }),
        { numRuns: 300 },
      )
    })

    it('must not be too large', async () => {
      expect(await outcomes(`token=${'x'.repeat(256 * 1_024)}`)).toEqual(all(413))
    })

    it('must use the method of the endpoint: 405 names it', async () => {
      for (const path of PATHS) {
        for (const method of ['GET', 'HEAD', 'PUT', 'DELETE', 'OPTIONS', 'PATCH']) {
          const { status, headers } = await send(new URL(path, t.h.url).href, { method, headers: admin() })
          expect([path, method, status, headers.allow]).toEqual([path, method, 405, 'POST'])
        }
      }
      const url = new URL('/.well-known/oauth-authorization-server', t.h.url).href
      const { status, headers } = await send(url, { method: 'POST' })
      expect([status, headers.allow]).toEqual([405, 'GET, HEAD'])
      expect((await send(url, { method: 'HEAD' })).status).toBe(200)
    })

    it('are refused if the token of the client is revoked before the body is complete', async () => {
      const client = await serviceToken(t.h, 'bot-tap', ['introspect:token'])
      const body = `token=${client}`
      const { socket, closed } = await openRaw(t.h.url)
      const head = [
        'POST /oauth/introspect HTTP/1.1',
        'Host: porthor',
        `Authorization: Bearer ${client}`,
        'Content-Type: application/x-www-form-urlencoded',
        `Content-Length: ${body.length}`,
        'Connection: close',
        'Expect: 100-continue',
      ]
      socket.write(`${head.join('\r\n')}\r\n\r\n`)
      // 100 Continue: the head has arrived, and is being handled.
      await once(socket, 'data')
      expect((await postForm(t.h, '/oauth/introspect', { token: client }, bearer(client))).status).toBe(200)
      await postForm(t.h, '/oauth/revoke', { token: client })
      socket.write(body)
      expect(statusesIn(await closed)).toEqual([100, 401])
    })

    it('get 404 at every other path', async () => {
      for (const path of [
        '/oauth',
        '/oauth/',
        '/oauth/token/',
        '/oauth/tokens',
        '/OAuth/token',
        '/oauth/authorize',
      ]) {
        expect([path, (await send(new URL(path, t.h.url).href)).status]).toEqual([path, 404])
      }
    })

    it('with two Authorization fields that differ get invalid_request', async () => {
      const body = 'token=x'
      const text = await sendRaw(
        t.h.url,
        [
          'POST /oauth/introspect HTTP/1.1',
          'Host: porthor',
          `Authorization: Bearer ${t.h.bootstrapToken}`,
          'Authorization: Basic eDp5',
          'Content-Type: application/x-www-form-urlencoded',
          `Content-Length: ${body.length}`,
          'Connection: close',
          '',
          body,
        ].join('\r\n'),
      )
      expect(text).toMatch(/^HTTP\/1\.1 400 /)
      expect(text).toContain('"error":"invalid_request"')
    })
  },
)
