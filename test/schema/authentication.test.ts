import {
  type GraphQLField,
  type GraphQLInputType,
  isEnumType,
  isInputObjectType,
  isLeafType,
  isListType,
  isNonNullType,
  isRequiredArgument,
  isRequiredInputField,
} from 'graphql'
import { describe, expect, it } from 'vitest'
import { parseToken } from '../../src/domain/token.ts'
import { schema } from '../../src/schema/index.ts'
import { openPorthor } from '../support/porthor/porthor.ts'
import { usePorthor } from '../support/porthor/use-porthor.ts'

const NO_CREDENTIALS = 'Bearer realm="porthor"'
const BAD_TOKEN =
  'Bearer realm="porthor", error="invalid_token", error_description="The token is malformed, unknown, expired or revoked"'

const SCOPES = '{ scopes { name } }'
const VIEWER = '{ viewer { user { username } } }'

/** Any value of the type, as it is written in a query. */
function literalOf(type: GraphQLInputType): string {
  if (isNonNullType(type)) return literalOf(type.ofType)
  if (isListType(type)) return '[]'
  if (isEnumType(type)) return type.getValues()[0]?.name ?? ''
  if (isInputObjectType(type)) {
    const fields = Object.values(type.getFields()).filter(isRequiredInputField)
    return `{ ${fields.map(({ name, type }) => `${name}: ${literalOf(type)}`).join(', ')} }`
  }
  return type.name === 'String' || type.name === 'ID' ? '"x"' : '1'
}

const queryOf = (operation: string, { name, args, type }: GraphQLField<unknown, unknown>): string => {
  const given = args.filter(isRequiredArgument).map((arg) => `${arg.name}: ${literalOf(arg.type)}`)
  const unwrapped = isNonNullType(type) ? type.ofType : type
  return `${operation} { ${name}${given.length > 0 ? `(${given})` : ''} ${isLeafType(unwrapped) ? '' : '{ __typename }'} }`
}

const FIELDS = (['query', 'mutation'] as const).flatMap((operation) => {
  const type = operation === 'query' ? schema.getQueryType() : schema.getMutationType()
  return Object.values(type?.getFields() ?? {}).map(
    (field) => [field.name, queryOf(operation, field)] as const,
  )
})

const KEY = 'A'.repeat(22)

describe.each(['redis', 'postgres'] as const)('over %s', (store) => {
  const api = usePorthor(store)

  it('a token with a wrong secret, or an unknown key, is refused', async () => {
    const { key, secret } = parseToken(await api.h.session())
    for (const token of [`gt-${key}.${KEY}`, `gt-${KEY}.${secret}`]) {
      const answer = await api.h.ask(SCOPES, { token })
      expect(answer).toMatchObject({ code: 'UNAUTHENTICATED', status: 401, data: null })
      expect(answer.headers.get('www-authenticate')).toBe(BAD_TOKEN)
    }
  })

  it('a token is accepted until the second in which it expires', async () => {
    const token = await api.plant({ endsIn: 100 })
    api.h.clock.advance(99)
    expect((await api.h.ask(SCOPES, { token })).errors).toEqual([])
    api.h.clock.advance(1)
    const answer = await api.h.ask(SCOPES, { token })
    expect(answer).toMatchObject({ code: 'UNAUTHENTICATED', status: 401, data: null })
    expect(answer.headers.get('www-authenticate')).toBe(BAD_TOKEN)
  })

  it('a token whose record was deleted from the token store is refused', async () => {
    const token = await api.h.session()
    const { key } = parseToken(token)
    if (store === 'redis') await api.h.redis.del(`token:${key}`)
    else await api.h.sql('DELETE FROM porthor_token_store WHERE token = $1', [key])
    expect(await api.h.ask(SCOPES, { token })).toMatchObject({ code: 'UNAUTHENTICATED', status: 401 })
  })

  it.each(FIELDS)(
    'a token of type OIDC, issued by Gafaelfawr, is refused as a current token: %s',
    async (_field, query) => {
      const token = await api.plant({ type: 'oidc', scopes: ['admin:token', 'user:token'] })
      const answer = await api.h.ask(query, { token })
      expect(answer).toMatchObject({ code: 'PERMISSION_DENIED', status: 403 })
    },
  )
})

describe('authentication', () => {
  const api = usePorthor('postgres')

  it.each(FIELDS)('%s requires a token', async (_field, query) => {
    const answer = await api.h.ask(query)
    expect(answer).toMatchObject({ code: 'UNAUTHENTICATED', status: 401 })
    expect(Object.values(answer.data ?? {}).filter((value) => value !== null)).toEqual([])
  })

  it('is not required for introspection and __typename', async () => {
    const { data, errors } = await api.h.ask(
      '{ __typename __schema { queryType { name } } __type(name: "Token") { name } }',
    )
    expect(errors).toEqual([])
    expect(data).toEqual({
      __typename: 'Query',
      __schema: { queryType: { name: 'Query' } },
      __type: { name: 'Token' },
    })
  })

  it('a request without a token is challenged without an error code, as RFC 6750 3.1 requires', async () => {
    const answer = await api.h.ask(SCOPES)
    expect(answer.headers.get('www-authenticate')).toBe(NO_CREDENTIALS)
    expect(answer.errors[0]?.message).toBe('A valid token is required: send "Authorization: Bearer <token>".')
  })

  it.each([
    ['without its prefix', `${KEY}.${KEY}`],
    ['with another prefix', `xt-${KEY}.${KEY}`],
    ['with a prefix in upper case', `GT-${KEY}.${KEY}`],
    ['without a secret', `gt-${KEY}`],
    ['with an empty secret', `gt-${KEY}.`],
    ['with a short key', `gt-${KEY.slice(1)}.${KEY}`],
    ['with a long key', `gt-${KEY}A.${KEY}`],
    ['with a short secret', `gt-${KEY}.${KEY.slice(1)}`],
    ['with a long secret', `gt-${KEY}.${KEY}A`],
    ['with text after it', `gt-${KEY}.${KEY} and more`],
    ['that is only a prefix', 'gt-'],
    ['that is empty', ''],
    ['of 8,000 characters', `gt-${'A'.repeat(8_000)}`],
    ['that is a path', 'gt-../../../../etc/passwd.AAAAAAAAAAAAAAAAAAAAAA'],
  ])('refuses a token %s', async (_what, token) => {
    const answer = await api.h.ask(SCOPES, { token })
    expect(answer).toMatchObject({ code: 'UNAUTHENTICATED', status: 401, data: null })
    expect(answer.headers.get('www-authenticate')).toBe(BAD_TOKEN)
    expect(answer.errors).toHaveLength(1)
  })

  it.each(['Basic', 'Token', 'Bearer:', ''])('refuses a token under the scheme %j', async (scheme) => {
    const token = await api.h.session()
    const answer = await api.h.ask(SCOPES, { headers: { Authorization: `${scheme} ${token}` } })
    expect(answer).toMatchObject({ code: 'UNAUTHENTICATED', status: 401, data: null })
  })

  it.each(['bearer', 'BEARER', 'Bearer  '])(
    'accepts the scheme in any case, and more than one blank: %j',
    async (scheme) => {
      const token = await api.h.session()
      const answer = await api.h.ask(SCOPES, { headers: { Authorization: `${scheme} ${token}` } })
      expect(answer.errors).toEqual([])
    },
  )

  it('returns the same error for every invalid token, so that a client cannot distinguish the reasons', async () => {
    const { key } = parseToken(await api.h.session())
    const expired = await api.plant({ endsIn: 1 })
    api.h.clock.advance(1)
    const answers = await Promise.all(
      ['gt-x', `gt-${KEY}.${KEY}`, `gt-${key}.${KEY}`, expired].map((token) => api.h.ask(SCOPES, { token })),
    )
    expect(new Set(answers.map(({ status, errors }) => JSON.stringify([status, errors]))).size).toBe(1)
  })

  it('reads the token once per request, whatever the number of fields', async () => {
    const { key } = parseToken(await api.h.session())
    const fields = ['a', 'b', 'c'].map((alias) => `${alias}: viewer { user { username } }`)
    const answer = await api.h.ask(`{ ${fields} }`, { token: `gt-${key}.${KEY}` })
    expect(answer.status).toBe(401)
    expect(api.h.logLines.filter(({ level, tokenKey }) => level === 40 && tokenKey === key)).toHaveLength(1)
  })
})

describe('the bootstrap token', () => {
  const api = usePorthor('postgres')

  it('cannot be the viewer', async () => {
    const answer = await api.h.ask(VIEWER, { token: api.h.bootstrapToken })
    expect(answer).toMatchObject({ code: 'PERMISSION_DENIED', status: 403, data: null })
    expect(answer.headers.get('www-authenticate')).toBe('Bearer realm="porthor", error="insufficient_scope"')
  })

  it('may list the known scopes', async () => {
    expect((await api.h.ask(SCOPES, { token: api.h.bootstrapToken })).errors).toEqual([])
  })

  it('is kept in neither store', async () => {
    await api.h.ask(SCOPES, { token: api.h.bootstrapToken })
    const { key } = parseToken(api.h.bootstrapToken)
    const rows = await api.h.sql(
      'SELECT token FROM token WHERE token = $1 UNION SELECT token FROM porthor_token_store WHERE token = $1',
      [key],
    )
    expect(rows).toEqual([])
  })

  it('is refused where none is configured', async () => {
    const h = await openPorthor({ store: 'postgres', env: { BOOTSTRAP_TOKEN: 'none' } })
    try {
      expect(await h.ask(SCOPES, { token: api.h.bootstrapToken })).toMatchObject({
        code: 'UNAUTHENTICATED',
        status: 401,
      })
    } finally {
      await h.close()
    }
  })
})
