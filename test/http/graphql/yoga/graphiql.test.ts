import { getOperationAST, parse, validate } from 'graphql'
import { describe, expect, it } from 'vitest'
import { graphiqlOptions } from '../../../../src/http/graphql/yoga/graphiql.ts'
import { schema } from '../../../../src/schema/index.ts'
import { usePorthor } from '../../../support/porthor/use-porthor.ts'
import { fieldOf } from '../../../support/requests/graphql.ts'
import { send } from '../../../support/requests/http.ts'

/** What Chromium and Firefox ask for when an address is typed. */
const BROWSER = { Accept: 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8' }

const TABS = graphiqlOptions.defaultTabs?.map(({ query }) => query ?? '') ?? []

describe('GraphiQL', () => {
  const api = usePorthor('postgres')

  it('opens in a browser, with the tour in its tabs and a place for the token', async () => {
    const { status, headers, body } = await send(api.h.url, { headers: BROWSER })
    expect([status, headers['content-type']]).toEqual([200, 'text/html'])
    expect(body).toContain('<title>Porthor</title>')
    for (const query of TABS) expect(body).toContain(JSON.stringify(query))
    expect(body).toContain('"defaultEditorToolsVisibility":"headers"')
    expect(body).toContain(JSON.stringify(graphiqlOptions.defaultHeaders))
    expect(body).toContain('"shouldPersistHeaders":false')
  })

  it('loads nothing from elsewhere, so that it opens without the internet', async () => {
    const { body } = await send(api.h.url, { headers: BROWSER })
    expect(body).not.toMatch(/<(script|link|img|iframe)[^>]+(src|href)="(https?:)?\/\//)
  })

  it('may be put into no frame, and runs and loads only what it holds itself', async () => {
    const { headers } = await send(api.h.url, { headers: BROWSER })
    const policy = new Map(
      String(headers['content-security-policy'])
        .split('; ')
        .map((directive) => {
          const [name = '', ...sources] = directive.split(' ')
          return [name, sources.join(' ')]
        }),
    )
    expect(policy.get('default-src')).toBe("'none'")
    expect(policy.get('frame-ancestors')).toBe("'none'")
    expect(policy.get('connect-src')).toBe("'self'")
    expect([...policy.values()].join(' ')).not.toMatch(/\*|https?:|unsafe-eval/)
    expect(headers).toMatchObject({
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
      'referrer-policy': 'no-referrer',
    })
  })

  it('is the same page under an address with a query, and runs nothing', async () => {
    const { status, body } = await send(`${api.h.url}?query=${encodeURIComponent('{ __typename }')}`, {
      headers: BROWSER,
    })
    expect([status, body.includes('<title>Porthor</title>')]).toEqual([200, true])
  })

  it('is not what a program gets', async () => {
    for (const headers of [{}, { Accept: '*/*' }, { Accept: 'application/json' }]) {
      const { headers: answered } = await send(api.h.url, { headers })
      expect(answered['content-type']).toContain('json')
    }
  })

  it('holds valid operations, each with a name for its tab', () => {
    const names = TABS.flatMap((query) => {
      const document = parse(query)
      expect(validate(schema, document)).toEqual([])
      return getOperationAST(document)?.name?.value
    })
    expect(names).toEqual(
      expect.arrayContaining(['FirstSession', 'InternalToken', 'NotebookToken', 'Viewer']),
    )
    expect(new Set(names).size).toBe(TABS.length)
  })

  it('leads from the bootstrap token to a reuse from the cache, through all of its tabs', async () => {
    const [first = '', ...others] = TABS
    const answer = await api.h.ask(first, { token: api.h.bootstrapToken })
    const { token } = fieldOf<{ token: string }>(answer, 'createSessionToken')
    for (const query of others) {
      const isForAdmins = query.includes("With an admin's token")
      const answer = await api.h.ask(query, { token: isForAdmins ? api.h.bootstrapToken : token })
      expect(answer.errors).toEqual([])
    }
    const again = await api.h.ask(TABS.find((query) => query.includes('internalToken')) ?? '', { token })
    expect(again.data).toMatchObject({ internalToken: { source: 'CACHE' } })
  })
})

describe('without GRAPHIQL', () => {
  const api = usePorthor('postgres', { GRAPHIQL: 'false' })

  it('a browser gets no page', async () => {
    const { headers, body } = await send(api.h.url, { headers: BROWSER })
    expect(headers['content-type']).not.toContain('html')
    expect(body).not.toContain('<html')
  })
})

describe('in production', () => {
  const api = usePorthor('postgres', { NODE_ENV: 'production' })

  it('a browser gets no page unless GRAPHIQL is set', async () => {
    expect((await send(api.h.url, { headers: BROWSER })).body).not.toContain('<html')
    await api.h.restart({ GRAPHIQL: 'true' })
    expect((await send(api.h.url, { headers: BROWSER })).body).toContain('<title>Porthor</title>')
  })
})
