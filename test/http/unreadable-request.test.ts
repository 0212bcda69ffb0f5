import { describe, expect, it } from 'vitest'
import { usePorthor } from '../support/porthor/use-porthor.ts'
import { sendRaw, statusesIn } from '../support/requests/raw-http.ts'

const POST = 'POST /graphql HTTP/1.1\r\nHost: porthor\r\nContent-Type: application/json\r\n'

describe('what Node would refuse by a bare status gets a response that states what would be right:', () => {
  const api = usePorthor('postgres')

  it.each([
    ['no HTTP', 'hello\r\n\r\n', 400, 'not valid HTTP/1.1'],
    ['TLS', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', 400, 'not valid HTTP/1.1'],
    ['an unknown method', 'GE /livez HTTP/1.1\r\nHost: porthor\r\n\r\n', 400, 'not valid HTTP/1.1'],
    ['a field without a colon', 'GET /livez HTTP/1.1\r\nHost porthor\r\n\r\n', 400, 'not valid HTTP/1.1'],
    [
      'a length and chunks',
      `${POST}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
      400,
      'not valid HTTP/1.1',
    ],
    ['a chunk of no size', `${POST}Transfer-Encoding: chunked\r\n\r\nzz\r\n`, 400, 'not valid HTTP/1.1'],
    ['no Host field', 'GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n', 400, 'no Host field'],
    [
      'header fields of 17 KiB',
      `GET /livez HTTP/1.1\r\nHost: porthor\r\nX: ${'y'.repeat(17 * 1024)}\r\n\r\n`,
      431,
      'at most 16 KiB',
    ],
    [
      'a target of 17 KiB',
      `GET /${'y'.repeat(17 * 1024)} HTTP/1.1\r\nHost: porthor\r\n\r\n`,
      431,
      'at most 16 KiB',
    ],
    [
      'chunk extensions of 17 KiB',
      `${POST}Transfer-Encoding: chunked\r\n\r\n5;${'y'.repeat(17 * 1024)}\r\nhello\r\n0\r\n\r\n`,
      413,
      'chunk extensions',
    ],
    [
      'an unknown expectation',
      `${POST}Expect: cake\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}`,
      417,
      '100-continue',
    ],
    ['CONNECT', 'CONNECT porthor:443 HTTP/1.1\r\nHost: porthor\r\n\r\n', 405, 'send a POST to /graphql'],
  ])('%s', async (_what, request, status, advice) => {
    const text = await sendRaw(api.h.url, request)
    expect(text).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `))
    const body = text.slice(text.indexOf('\r\n\r\n') + 4)
    const { errors } = JSON.parse(body)
    expect(errors).toEqual([
      { message: expect.stringContaining(advice), extensions: { code: expect.stringMatching(/^[A-Z_]+$/) } },
    ])
  })

  it.each([
    ['no HTTP', 'GARBAGE\r\n\r\n', 400],
    [
      'header fields of 20 KiB',
      `GET /livez HTTP/1.1\r\nHost: porthor\r\nX: ${'y'.repeat(20 * 1024)}\r\n\r\n`,
      431,
    ],
    ['CONNECT', 'CONNECT porthor:443 HTTP/1.1\r\nHost: porthor\r\n\r\n', 405],
    ['a chunk of no size', `${POST}Transfer-Encoding: chunked\r\n\r\nzz\r\n`, 400],
  ])(
    'a token that is issued is returned, whatever the client sends behind the request: %s',
    async (_what, behind, status) => {
      const query = JSON.stringify({
        query: 'mutation { createSessionToken(input: { username: "wren", scopes: [] }) { token } }',
      })
      const head = `${POST}Authorization: Bearer ${api.h.bootstrapToken}\r\nContent-Length: ${query.length}\r\n\r\n`
      const text = await sendRaw(api.h.url, `${head}${query}${behind}`)
      expect(statusesIn(text)).toEqual([200, status])
      expect(text).toMatch(/"token":"gt-/)
    },
  )

  it('a request that is valid is answered before what cannot be read behind it is refused', async () => {
    const text = await sendRaw(api.h.url, 'GET /livez HTTP/1.1\r\nHost: porthor\r\n\r\n\0')
    expect(statusesIn(text)).toEqual([200, 400])
  })

  it('HTTP/1.0 needs no Host field', async () => {
    expect(statusesIn(await sendRaw(api.h.url, 'GET /livez HTTP/1.0\r\n\r\n'))).toEqual([200])
  })
})
