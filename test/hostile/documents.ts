import { type HttpAnswer, send } from '../support/requests/http.ts'

/** A request to `/graphql`, as the members of its body. */
export interface DocumentRequest {
  readonly query: string
  /** As JSON: some is too deep to be made by `JSON.stringify`. */
  readonly variables?: string
  readonly operationName?: string
}

/** Documents of one kind: the larger, the more they cost a server without bounds. */
export interface DocumentKind {
  readonly name: string
  /** Just within the bound, at it, just beyond it, and far beyond. */
  readonly sizes: readonly number[]
  /** The largest size that is executed; 0 where none is. */
  readonly bound: number
  readonly make: (size: number) => DocumentRequest
}

const repeated = (count: number, of: (index: number) => string): string =>
  Array.from({ length: count }, (_, index) => of(index)).join(' ')

const letters = (count: number, letter = 'A'): string => letter.repeat(count)

const nested = (levels: number, open: string, leaf: string, close: string): string =>
  `${open.repeat(levels)}${leaf}${close.repeat(levels)}`

const aliased = (count: number, field: string): string => repeated(count, (index) => `a${index}: ${field}`)

const FILTERED = 'query ($filter: TokenChangeFilter) { tokenChanges(filter: $filter) { totalCount } }'

const NAMES: readonly DocumentKind[] = [
  {
    name: 'letters of an alias',
    sizes: [127, 128, 129, 240_000],
    bound: 128,
    make: (size) => ({ query: `{ ${letters(size)}: __typename }` }),
  },
  {
    name: 'letters of aliases in every row of introspection',
    sizes: [60, 126, 127, 18_000],
    bound: 126,
    make: (size) => ({
      query: `{ __schema { types { fields { ${repeated(12, (n) => `${letters(size)}${n + 10}: name`)} } } } }`,
    }),
  },
  {
    name: 'letters of a scalar that the document defines',
    sizes: [2, 128, 129, 32_000],
    bound: 0,
    make: (size) => ({
      query: `scalar ${letters(size)} query ($v: ${letters(size - 1)}B) { __typename }`,
    }),
  },
  {
    name: 'letters of arguments of a directive that the document defines',
    sizes: [2, 100, 16_000],
    bound: 0,
    make: (size) => ({
      query: `directive @d(${letters(size)}: Int) on FIELD { __typename @d(${letters(size - 1)}B: 1) }`,
    }),
  },
  {
    name: 'letters of a name that is not in the document',
    sizes: [128, 240_000],
    bound: 0,
    make: (size) => ({
      query: 'query A { __typename } query B { __typename }',
      operationName: letters(size),
    }),
  },
  {
    name: 'letters of an operation with many errors',
    sizes: [100, 128, 129, 200_000],
    bound: 0,
    make: (size) => ({ query: `query ${letters(size)} { ${repeated(99, (n) => `nope${n}`)} }` }),
  },
]

const SELECTIONS: readonly DocumentKind[] = [
  {
    name: 'aliases of __typename',
    sizes: [29, 30, 31, 300],
    bound: 30,
    make: (size) => ({ query: `{ ${aliased(size, '__typename')} }` }),
  },
  {
    name: 'aliases that are named __typename',
    sizes: [29, 30, 31, 240],
    bound: 30,
    make: (size) => ({ query: `{ scopes { ${'__typename: name '.repeat(size)} } }` }),
  },
  {
    name: 'equal fields',
    sizes: [299, 300, 301, 490, 990],
    bound: 300,
    make: (size) => ({ query: `{ scopes { ${'name '.repeat(size)} } }` }),
  },
  {
    name: 'equal fields of equal fields',
    sizes: [9, 10, 11, 28],
    bound: 10,
    make: (size) => ({ query: `{ viewer { ${`token { ${'key '.repeat(30)} } `.repeat(size)} } }` }),
  },
  {
    name: 'equal fields with arguments',
    sizes: [50, 98, 99, 3_000],
    bound: 99,
    make: (size) => ({ query: `{ ${'tokenChanges(filter: {}) { totalCount } '.repeat(size)} }` }),
  },
  {
    name: 'fields below each other',
    sizes: [16, 17, 18, 300],
    bound: 17,
    make: (size) => ({ query: `{ viewer { token { ${nested(size, 'parent { ', 'key', ' }')} } } }` }),
  },
  {
    name: 'fragments in place within each other',
    sizes: [298, 299, 300, 20_000],
    bound: 299,
    make: (size) => ({ query: `{ ${nested(size, '... { ', '__typename', ' }')} }` }),
  },
  {
    name: 'fragments that spread the next one twice',
    sizes: [6, 7, 8, 60],
    bound: 7,
    make: (size) => ({
      query: `{ scopes { ...F0 } } ${repeated(size, (n) => `fragment F${n} on Scope { name ${n + 1 < size ? `...F${n + 1} ...F${n + 1}` : ''} }`)}`,
    }),
  },
  {
    name: 'fragments that spread each other in a circle, below fields',
    sizes: [1, 2, 60],
    bound: 0,
    make: (size) => ({
      query: `{ viewer { token { ...F0 } } } ${repeated(size, (n) => `fragment F${n} on Token { parent { ...F${(n + 1) % size} } }`)}`,
    }),
  },
  {
    name: 'fields that issue a token',
    sizes: [1, 2, 30],
    bound: 1,
    make: (size) => ({ query: `mutation { ${aliased(size, 'internalToken(service: "tap") { key }')} }` }),
  },
]

const TEXTS: readonly DocumentKind[] = [
  {
    name: 'lexical tokens',
    sizes: [983, 984, 985, 50_000],
    bound: 984,
    make: (size) => ({
      query: `mutation { internalToken(service: "tap", scopes: [${'"read:all"'.repeat(size)}]) { key } }`,
    }),
  },
  {
    name: 'operations',
    sizes: [199, 200, 201, 10_000],
    bound: 200,
    make: (size) => ({ query: repeated(size, (n) => `query A${n} { __typename }`), operationName: 'A0' }),
  },
  {
    name: 'comments',
    sizes: [999, 1_000, 1_001, 100_000],
    bound: 1_000,
    make: (size) => ({ query: `{ __typename } ${'#\n'.repeat(size)}` }),
  },
  {
    name: 'fields that there are not',
    sizes: [1, 20, 21, 290, 900],
    bound: 0,
    make: (size) => ({ query: `{ viewer { token { ${repeated(size, (n) => `keyz${n}`)} } } }` }),
  },
  {
    name: 'variables that are not used',
    sizes: [1, 240, 5_000],
    bound: 0,
    make: (size) => ({ query: `query (${repeated(size, (n) => `$v${n}: Int`)}) { __typename }` }),
  },
  {
    name: 'lists within lists, as a literal',
    sizes: [1, 480, 10_000],
    bound: 0,
    make: (size) => ({ query: `{ tokens(first: ${nested(size, '[', '"a"', ']')}) { totalCount } }` }),
  },
  {
    name: 'lists within lists, as a variable',
    sizes: [1, 100, 5_000, 100_000],
    bound: 0,
    make: (size) => ({
      query: FILTERED,
      variables: `{"filter":{"since":${nested(size, '[', '1', ']')}}}`,
    }),
  },
  {
    name: 'objects within objects, as a variable',
    sizes: [1, 100, 20_000],
    bound: 0,
    make: (size) => ({
      query: FILTERED,
      variables: `{"filter":${nested(size, '{"a":', '1', '}')}}`,
    }),
  },
  {
    name: 'members that an input does not have',
    sizes: [1, 4, 10_000],
    bound: 0,
    make: (size) => ({
      query: FILTERED,
      variables: `{"filter":{${repeated(size, (n) => `"field${n}":${n}`).replaceAll(' ', ',')}}}`,
    }),
  },
  {
    name: 'letters of a text that is looked for',
    sizes: [1, 100, 240_000],
    bound: 0,
    make: (size) => ({ query: `{ token(key: "${letters(size, 'k')}") { key } }` }),
  },
]

export const DOCUMENT_KINDS: readonly DocumentKind[] = [...NAMES, ...SELECTIONS, ...TEXTS]

/** How a document reaches the server; a URL only takes short ones. */
export const WAYS = ['fast path', 'Yoga', 'GET'] as const

export type Way = (typeof WAYS)[number]

function bodyOf({ variables, ...members }: DocumentRequest): string {
  const text = JSON.stringify(members)
  return variables === undefined ? text : `${text.slice(0, -1)},"variables":${variables}}`
}

/** Longest URL that is tried, in characters: Node refuses longer heads by itself. */
const MAX_URL_LENGTH = 15_000

/** Sends a document; `undefined` where it does not go by this way. */
export async function sendDocument(
  origin: string,
  token: string,
  way: Way,
  request: DocumentRequest,
): Promise<HttpAnswer | undefined> {
  const url = new URL('/graphql', origin)
  const signal = AbortSignal.timeout(10_000)
  const authorization = { Authorization: `Bearer ${token}` }
  if (way !== 'GET') {
    if (way === 'Yoga') url.search = '?by=yoga'
    const headers = { 'Content-Type': 'application/json', ...authorization }
    return send(url.href, { method: 'POST', headers, signal }, [bodyOf(request)])
  }
  for (const [name, value] of Object.entries(request)) {
    url.searchParams.set(name, value)
  }
  const isPossible = url.href.length <= MAX_URL_LENGTH && !request.query.startsWith('mutation')
  return isPossible ? send(url.href, { headers: authorization, signal }) : undefined
}
