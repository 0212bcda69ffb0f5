import type { Reply } from './wire.ts'

/** The largest response body, in bytes, that any request may cause. */
const MAX_RESPONSE_BYTES = 9 * 1024 * 1024

const BEARER_STRING = /gt-[\w-]{22}\.[\w-]{22}/

/** Whether `text` holds a whole bearer string. */
export const holdsBearer = (text: string): boolean => BEARER_STRING.test(text)

/** The body of a GraphQL response, of readiness, or of an OAuth endpoint. */
interface JsonBody {
  readonly tokens?: unknown
  readonly error?: unknown
  readonly data?: unknown
  readonly errors?: readonly {
    readonly message?: unknown
    readonly extensions?: { readonly code?: unknown }
  }[]
}

/** What is wrong with a response, whatever the request was; empty where nothing is. */
export function faultsOf({ status, headers, body }: Reply, hasNoBody: boolean): string[] {
  const faults: string[] = []
  const type = headers.get('content-type') ?? ''
  if (!(status >= 200 && status < 500) && status !== 503) faults.push(`status ${status}`)
  if (body.length > MAX_RESPONSE_BYTES) faults.push(`a body of ${body.length} bytes`)
  if (!hasNoBody && status >= 300 && !body.trim()) faults.push(`status ${status} with an empty body`)
  if (!/html/.test(type) && /\bat .*\.(ts|js):\d+|node_modules|node:internal/.test(body))
    faults.push('a stack trace in the body')
  if (/json/.test(type) && body) faults.push(...faultsOfJson(body, status))
  else if (status >= 300 && holdsBearer(body)) faults.push('a bearer string in a refusal')
  if (status === 401 && !headers.has('www-authenticate')) faults.push('a 401 without WWW-Authenticate')
  return faults
}

function faultsOfJson(body: string, status: number): string[] {
  let read: JsonBody
  try {
    read = JSON.parse(body)
  } catch {
    return ['a body that is not JSON']
  }
  const { data, errors = [] } = read
  const isOther = read.tokens !== undefined || read.error !== undefined
  if (data === undefined && errors.length === 0 && !isOther) return ['neither data nor errors']
  return errors.flatMap(({ message, extensions }) => [
    ...(typeof message === 'string' && message !== '' ? [] : ['an error without a message']),
    ...(typeof extensions?.code === 'string' ? [] : [`an error without a code: ${String(message)}`]),
    ...(extensions?.code === 'INTERNAL_SERVER_ERROR' ? [`INTERNAL_SERVER_ERROR with status ${status}`] : []),
    ...(extensions?.code === 'UNAVAILABLE' ? ['UNAVAILABLE, with both stores there'] : []),
    ...(holdsBearer(JSON.stringify({ message, extensions })) ? ['a bearer string in an error'] : []),
  ])
}

/** Whether `text` is a whole request, as RFC 9112 has it, to which there must be a response. */
export function isWhole(text: string): boolean {
  const end = text.indexOf('\r\n\r\n')
  if (end < 0 || !/^[A-Z-]+ \S+ HTTP\/1\.[01]\r\n/.test(text)) return false
  // Node closes the connection on the preface of HTTP/2, which a client without HTTP/1.1 sends.
  if (text.startsWith('PRI ')) return false
  const head = text.slice(0, end).toLowerCase()
  if (/[\0\r\n](?!\n?[\w-]+:)/.test(head.replaceAll('\r\n', '\n')) || head.includes('\r\ntransfer-encoding'))
    return false
  const lengths = [...head.matchAll(/\r\ncontent-length: ?(.*)/g)].map(([, length]) => length ?? '')
  const body = text.length - end - 4
  return (
    lengths.length === 0 ||
    (lengths.length === 1 && /^\d{1,9}$/.test(lengths[0] ?? '') && Number(lengths[0]) <= body)
  )
}
