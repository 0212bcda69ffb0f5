import type { IncomingMessage } from 'node:http'

/** RFC 9112, section 3.2.2: a whole URL, which a server must accept although clients send it only to proxies. */
const ABSOLUTE_FORM = /^https?:\/\/[^/?#]*(.*)$/i

/**
 * Checks the head of a request beyond what Node checks, and normalises it in `request`: a target in absolute form
 * becomes its path and query, and equal `Authorization` fields become one. Requires `joinDuplicateHeaders`.
 *
 * @returns The message of a 400 response; `undefined` where the head is valid.
 */
export function findHeadProblem(request: IncomingMessage): string | undefined {
  const { url = '/', headers } = request
  if (url.includes('#')) return 'The request target contains #, which is not allowed: write it as %23.'
  if (!url.startsWith('/')) {
    const [, path] = ABSOLUTE_FORM.exec(url) ?? []
    if (path !== undefined) request.url = path.startsWith('/') ? path : `/${path}`
  }
  if (headers.host === undefined && request.httpVersion === '1.1') {
    return 'There is no Host field, which HTTP/1.1 requires: send one.'
  }
  if (headers.host?.includes(',') && valuesOf(request, 'host').length > 1) {
    return 'There are several Host fields: send one.'
  }
  if (headers.authorization?.includes(',')) {
    const [first, ...others] = valuesOf(request, 'authorization')
    if (others.some((value) => value !== first)) {
      return 'There are several Authorization fields that differ: send one.'
    }
    if (first !== undefined) headers.authorization = first
  }
  return undefined
}

function valuesOf({ rawHeaders }: IncomingMessage, name: string): string[] {
  const values: string[] = []
  for (let index = 0; index < rawHeaders.length; index += 2) {
    if (rawHeaders[index]?.toLowerCase() === name) values.push(rawHeaders[index + 1] ?? '')
  }
  return values
}
