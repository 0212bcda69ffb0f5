import type { GraphQLSchema } from 'graphql'
import { between, type Choices, chance, oneOf, several } from './choice.ts'
import { documentOf, type Params } from './documents.ts'
import {
  CONTENT_TYPES,
  FIELD_VALUES,
  INSERTS,
  MEMBERS,
  METHODS,
  QUERIES,
  SMALL_BODIES,
  TARGETS,
  WIRE,
} from './samples.ts'

/** A request as it is sent, but for placeholders; text is Latin-1, so that each character is a byte. */
export interface HostileRequest {
  readonly text: string
  readonly method: string
}

/** Kinds of requests, each made by its own generator. */
export type Kind = 'document' | 'body' | 'head' | 'wire'

export const generators: Readonly<Record<Kind, (g: Choices, schema: GraphQLSchema) => HostileRequest>> = {
  document: documentRequest,
  body: bodyRequest,
  head: headRequest,
  wire: wireRequest,
}

type Fields = readonly (readonly [name: string, value: string])[]

const HOST = ['Host', 'localhost'] as const
const JSON_TYPE = ['Content-Type', 'application/json'] as const

const TOKENS = ['%%USER_TOKEN%%', '%%ADMIN_TOKEN%%', '%%BOOTSTRAP_TOKEN%%', undefined] as const

const authorization = (g: Choices): Fields => {
  const token = oneOf(g, TOKENS)
  return token === undefined ? [] : [['Authorization', `Bearer ${token}`]]
}

const bytesOf = (text: string): string => Buffer.from(text, 'utf8').toString('latin1')

function write(method: string, target: string, fields: Fields, body = ''): string {
  return `${method} ${target} HTTP/1.1\r\n${fields.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n${body}`
}

const post = (fields: Fields, body: string): HostileRequest => ({
  text: write('POST', '/graphql', [HOST, ...fields, ['Content-Length', '%%LENGTH%%']], body),
  method: 'POST',
})

/** A document made from the schema, sent as a well-behaved client would. */
function documentRequest(g: Choices, schema: GraphQLSchema): HostileRequest {
  const params = documentOf(g, schema)
  const fields = authorization(g)
  if (chance(g, 15)) return { text: write('GET', targetOf(params), [HOST, ...fields]), method: 'GET' }
  const accept = oneOf(g, [
    undefined,
    'application/json',
    'application/graphql-response+json',
    'text/event-stream',
    'multipart/mixed',
  ])
  return post(
    [...fields, JSON_TYPE, ...(accept ? [['Accept', accept] as const] : [])],
    bytesOf(JSON.stringify(params)),
  )
}

function targetOf({ query, variables, operationName }: Params): string {
  const search = new URLSearchParams({ query })
  if (variables) search.set('variables', JSON.stringify(variables))
  if (operationName !== undefined) search.set('operationName', operationName)
  // What would be refused for its length alone tells nothing.
  return `/graphql?${search.toString().slice(0, 12_000)}`
}

/** A valid head, and a body of which something is wrong. */
function bodyRequest(g: Choices, schema: GraphQLSchema): HostileRequest {
  const fields = [
    ...authorization(g),
    ['Content-Type', chance(g, 85) ? 'application/json' : oneOf(g, CONTENT_TYPES)] as const,
  ]
  return post(fields, bytesOf(bodyOf(g, schema)))
}

function bodyOf(g: Choices, schema: GraphQLSchema): string {
  const params = (): string => {
    const members: string[] = []
    const add = (name: string, value: unknown) =>
      members.push(`${JSON.stringify(name)}:${JSON.stringify(value)}`)
    if (chance(g, 92)) add('query', chance(g, 85) ? oneOf(g, QUERIES) : oneOf(g, MEMBERS))
    for (const name of ['variables', 'operationName', 'extensions'])
      if (chance(g, 35)) add(name, oneOf(g, MEMBERS))
    if (chance(g, 10))
      add(
        oneOf(g, ['id', 'query', 'variables', '__proto__', 'doc_id', 'documentId', '', 'x'.repeat(70_000)]),
        oneOf(g, MEMBERS),
      )
    if (chance(g, 5)) members.push('"extensions":{"persistedQuery":{"version":1,"sha256Hash":"ab"}}')
    return `{${members.join(',')}}`
  }
  switch (between(g, 0, 11)) {
    case 0:
      return oneOf(g, [
        '',
        '{}',
        'null',
        '0',
        '"',
        '[]',
        '{"query"',
        '\ufeff{"query":"{ __typename }"}',
        '{"query":"{ __typename }"}\0',
        '\0',
        'NaN',
        '{"query":"{ __typename }"}{}',
        "{'query':'{ __typename }'}",
        'query=%7B+__typename+%7D',
        '{ __typename }',
      ])
    case 1:
      return `[${several(g, 0, 3, params).join(',')}]`
    case 2: {
      const depth = oneOf(g, [10, 1_000, 20_000, 120_000])
      return `{"query":"{ __typename }","variables":{"v":${'['.repeat(depth)}${']'.repeat(depth)}}}`
    }
    case 3:
      return `{"query":"query ($v: Int) { tokens(first: $v) { totalCount } }","variables":{"v":${oneOf(g, ['1e400', '-1e400', '9'.repeat(1_000), '1E-400', '00', '+1', '1.', '0x10', '-', '1e', '123456789012345678901234567890'])}}}`
    case 4: {
      const whole = JSON.stringify(documentOf(g, schema))
      return whole.slice(0, between(g, 0, whole.length))
    }
    case 5:
      return `{"query":"{ __typename }","query":${JSON.stringify(oneOf(g, QUERIES))},"variables":{},"variables":${JSON.stringify(oneOf(g, MEMBERS))}}`
    case 6:
      return `{"query":${oneOf(g, ['"\\ud800"', '"\\u0000"', '"{ \\u005f_typename }"', '"\\q"', '"\n"', '"{ a(b: \\"\\ud800\\") }"'])}}`
    default:
      return params()
  }
}

/** Odd methods, targets and header fields, in HTTP that a parser may or may not take. */
function headRequest(g: Choices): HostileRequest {
  const method = chance(g, 60) ? oneOf(g, ['POST', 'GET']) : oneOf(g, METHODS)
  const target = chance(g, 50) ? '/graphql' : oneOf(g, TARGETS)
  const fields: (readonly [string, string])[] = [HOST, ...(chance(g, 60) ? authorization(g) : [])]
  const names = Object.keys(FIELD_VALUES)
  for (const name of several(g, 0, 3, () => oneOf(g, names)))
    fields.push([name, oneOf(g, FIELD_VALUES[name] ?? [''])])
  const body = method === 'GET' && chance(g, 80) ? '' : oneOf(g, SMALL_BODIES)
  const isFramed = fields.some(([name]) => name === 'Content-Length' || name === 'Transfer-Encoding')
  if (!isFramed && body) fields.push(JSON_TYPE, ['Content-Length', '%%LENGTH%%'])
  return { text: write(method, target, fields, body), method }
}

/** Bytes that need not be HTTP: samples, and valid requests with bytes taken out, put in or changed. */
function wireRequest(g: Choices): HostileRequest {
  if (chance(g, 25)) return { text: oneOf(g, WIRE), method: '' }
  const body = oneOf(g, SMALL_BODIES)
  let text = write(
    'POST',
    '/graphql',
    [HOST, ...authorization(g), JSON_TYPE, ['Content-Length', String(body.length)]],
    body,
  )
  for (let left = between(g, 1, 3); left > 0; left -= 1) {
    const at = between(g, 0, text.length)
    const insert = chance(g, 60) ? oneOf(g, INSERTS) : ''
    text = text.slice(0, at) + insert + text.slice(at + between(g, 0, 4))
  }
  return { text, method: '' }
}
