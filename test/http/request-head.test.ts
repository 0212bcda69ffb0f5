import { describe, expect, it } from 'vitest'
import { usePorthor } from '../support/porthor/use-porthor.ts'
import { sendRaw, statusesIn } from '../support/requests/raw-http.ts'

const BODY = JSON.stringify({ query: '{ viewer { user { username } } }' })

describe('the head of a request', () => {
  const api = usePorthor('postgres')

  /** Posts an operation with these lines after the first; answers with the status and the rest. */
  async function post(target: string, lines: readonly string[]): Promise<readonly [number, string]> {
    const length = `Content-Length: ${BODY.length}`
    const head = [`POST ${target} HTTP/1.1`, ...lines, 'Content-Type: application/json', length]
    const text = await sendRaw(api.h.url, `${[...head, 'Connection: close'].join('\r\n')}\r\n\r\n${BODY}`)
    return [statusesIn(text)[0] ?? 0, text]
  }

  it.each([
    ['a path', '/graphql'],
    ['a whole URL, as a proxy is sent one', 'http://porthor.example:4000/graphql'],
    ['a whole URL with a query', 'HTTPS://porthor.example/graphql?a=b'],
  ])('may name its target by %s', async (_what, target) => {
    const authorization = `Authorization: Bearer ${await api.h.session()}`
    const [status, text] = await post(target, ['Host: porthor', authorization])
    expect([status, text]).toEqual([200, expect.stringContaining('{"username":"wren"}')])
  })

  it.each([
    ['no path', 'http://porthor.example', 302],
    ['a query only', 'http://porthor.example?a=b', 302],
    ['a path that there is not', 'http://porthor.example/graphql2', 404],
    ['another scheme', 'ftp://porthor.example/graphql', 404],
  ])('with a whole URL of %s leads where the path alone would', async (_what, target, expected) => {
    const [status] = await post(target, ['Host: porthor'])
    expect(status).toBe(expected)
  })

  it.each(['/graphql?query={__typename}#a', '/graphql#', '/livez#a', 'http://porthor/graphql#a'])(
    'is refused for a # in its target: %s',
    async (target) => {
      const text = await sendRaw(
        api.h.url,
        `GET ${target} HTTP/1.1\r\nHost: porthor\r\nConnection: close\r\n\r\n`,
      )
      expect(text).toMatch(/^HTTP\/1\.1 400 /)
      expect(text).toContain('"code":"BAD_REQUEST"')
    },
  )

  it.each([
    ['differ', 'Host: a', 'host: b'],
    ['are equal', 'Host: a', 'Host: a'],
  ])('is refused for two Host fields that %s', async (_what, ...hosts) => {
    const [status, text] = await post('/graphql', hosts)
    expect([status, text]).toEqual([400, expect.stringContaining('several Host fields')])
  })

  it('is refused for two Authorization fields that differ, whichever of them is valid', async () => {
    const valid = `Authorization: Bearer ${await api.h.session()}`
    for (const other of ['Authorization: Bearer gt-x', 'authorization: Basic YTpi', `${valid}x`]) {
      for (const both of [
        [valid, other],
        [other, valid],
      ]) {
        const [status, text] = await post('/graphql', ['Host: porthor', ...both])
        expect([status, text]).toEqual([400, expect.stringContaining('several Authorization fields')])
      }
    }
  })

  it('may have an Authorization field twice, if both are equal', async () => {
    const valid = `Authorization: Bearer ${await api.h.session()}`
    const [status, text] = await post('/graphql', ['Host: porthor', valid, valid])
    expect([status, text]).toEqual([200, expect.stringContaining('{"username":"wren"}')])
  })

  it('with two types of its content is of none that is known', async () => {
    const [status] = await post('/graphql', ['Host: porthor', 'Content-Type: text/plain'])
    expect(status).toBe(415)
  })
})
