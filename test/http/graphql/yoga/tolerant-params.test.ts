import { describe, expect, it } from 'vitest'
import { usePorthor } from '../../../support/porthor/use-porthor.ts'
import { send } from '../../../support/requests/http.ts'

describe.each(['', '?by=yoga'])('a body, sent to /graphql%s', (search) => {
  const api = usePorthor('postgres')
  const post = async (body: object) => {
    const headers = { 'Content-Type': 'application/json' }
    const { status, body: text } = await send(`${api.h.url}${search}`, { method: 'POST', headers }, [
      JSON.stringify(body),
    ])
    return { status, body: JSON.parse(text) as unknown }
  }
  const ANSWER = { status: 200, body: { data: { __typename: 'Query' } } }

  it.each([
    ['an empty name of its operation', { operationName: '' }],
    ['no name of its operation', { operationName: null }],
    ["an id, as Relay's network layer sends", { id: '5f7a', cacheConfig: { force: true } }],
    [
      'a persisted query beside its own',
      { extensions: { persistedQuery: { version: 1, sha256Hash: 'ab' } } },
    ],
  ])('is answered with %s', async (_what, members) => {
    expect(await post({ query: '{ __typename }', ...members })).toEqual(ANSWER)
  })

  it('with an empty name and several operations gets the error that no operation is named', async () => {
    const { body } = await post({ query: 'query A { __typename } query B { __typename }', operationName: '' })
    expect(body).toMatchObject({ errors: [{ extensions: { code: 'OPERATION_RESOLUTION_FAILURE' } }] })
  })

  it('that names a persisted query gets PERSISTED_QUERY_NOT_SUPPORTED, so that its client sends the query', async () => {
    const extensions = { persistedQuery: { version: 1, sha256Hash: 'ab' } }
    expect(await post({ extensions })).toEqual({
      status: 200,
      body: {
        errors: [
          { message: 'PersistedQueryNotSupported', extensions: { code: 'PERSISTED_QUERY_NOT_SUPPORTED' } },
        ],
      },
    })
  })
})

describe('a URL', () => {
  const api = usePorthor('postgres')

  it('that names a persisted query gets the same', async () => {
    const extensions = encodeURIComponent(
      JSON.stringify({ persistedQuery: { version: 1, sha256Hash: 'ab' } }),
    )
    const { body } = await send(`${api.h.url}?operationName=&extensions=${extensions}`)
    expect(JSON.parse(body)).toMatchObject({ errors: [{ message: 'PersistedQueryNotSupported' }] })
  })
})
