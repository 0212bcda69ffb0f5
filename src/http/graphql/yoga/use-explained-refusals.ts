import type { Plugin } from 'graphql-yoga'

/** What would be right, by the status of responses that Yoga leaves without a body. */
const ADVICE: Readonly<Record<number, string>> = {
  400: 'variables and extensions in a URL must be JSON objects, percent-encoded.',
  406: 'The response is JSON: Accept must allow application/json or application/graphql-response+json.',
  415: 'The body must be JSON in UTF-8, not compressed, with the header Content-Type: application/json.',
}

/** Default type of `curl -d`: Yoga would parse the JSON as a form, and find no query. */
const FORM_TYPE = /^application\/x-www-form-urlencoded\b/i

const OTHER_CHARSET = /;\s*charset\s*=\s*(?!"?(utf-?8|us-ascii)"?\s*(;|$))/i

/** Types of response that Yoga has. */
const RESPONSE_TYPES = [
  'application/graphql-response+json',
  'application/json',
  'multipart/mixed',
  'text/event-stream',
] as const

/**
 * Refuses requests that Yoga would refuse only after their execution, or misread, and gives refusals without a body one
 * that states what would be right.
 */
export const useExplainedRefusals = (): Plugin => ({
  onRequestParse: ({ request: { method, headers }, url, endResponse, fetchAPI }) => {
    const refuse = (status: number, facts: Record<string, string> = {}) =>
      endResponse(new fetchAPI.Response(null, { status, headers: facts }))
    const [type, encoding] = [headers.get('content-type') ?? '', headers.get('content-encoding')]
    // Yoga checks this only after the operation: a token would be issued and not returned.
    if (!isAcceptable(headers.get('accept') || '*/*')) refuse(406, { accept: RESPONSE_TYPES.join(', ') })
    else if (method === 'POST' && !isReadable(type, encoding)) refuse(415)
    else if (method === 'GET' && !areObjects(url.searchParams, ['variables', 'extensions'])) refuse(400)
  },
  onResponse: ({ response, setResponse, fetchAPI }) => {
    const message = ADVICE[response.status]
    if (message === undefined || response.body) return
    const body = JSON.stringify({ errors: [{ message, extensions: { code: 'BAD_REQUEST' } }] })
    const headers = Object.fromEntries(response.headers)
    setResponse(
      new fetchAPI.Response(body, {
        status: response.status,
        headers: {
          ...headers,
          'content-type': 'application/json; charset=utf-8',
          'content-length': String(body.length),
        },
      }),
    )
  },
})

/**
 * Matches as Yoga's `getMediaTypesForRequestInOrder` and `isMatchingMediaType` do: by type, without regard to weights, and
 * in UTF-8 only.
 */
function isAcceptable(accept: string): boolean {
  return accept
    .replace(/\s/g, '')
    .toLowerCase()
    .split(',')
    .some((range) => {
      const [mediaType = '', ...parameters] = range.split(';')
      const charset = parameters.find((parameter) => parameter.includes('charset='))
      return (
        (charset ?? 'charset=utf-8') === 'charset=utf-8' &&
        RESPONSE_TYPES.some((type) => matches(mediaType, type))
      )
    })
}

function matches(range: string, type: string): boolean {
  const [[kind, subtype], [ownKind, ownSubtype]] = [range.split('/'), type.split('/')]
  return (kind === '*' || kind === ownKind) && (subtype === '*' || subtype === ownSubtype)
}

/** Yoga reads every body as UTF-8 without compression, whatever its headers say. */
const isReadable = (type: string, encoding: string | null): boolean =>
  !FORM_TYPE.test(type) && !OTHER_CHARSET.test(type) && (encoding ?? 'identity').toLowerCase() === 'identity'

/** Whether each of the parameters that is given is a JSON object: Yoga responds to other text with an internal error. */
const areObjects = (parameters: URLSearchParams, names: readonly string[]): boolean =>
  names.every((name) => {
    try {
      return typeof JSON.parse(parameters.get(name) || '{}') === 'object'
    } catch {
      return false
    }
  })
