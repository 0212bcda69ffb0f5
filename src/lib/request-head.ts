import type { IncomingMessage } from 'node:http'

/** RFC 9112 3.2.2: a whole URL, which a server must accept though only proxies are sent one. */
const ABSOLUTE_FORM = /^https?:\/\/[^/?#]*(.*)$/i

/**
 * Reads what Node leaves open about the head of a request, and puts into `request` what it means: a target in
 * absolute form becomes its path and query, and equal `Authorization` fields one. Fields of one name must have
 * arrived joined (`joinDuplicateHeaders`).
 *
 * @returns What is wrong with it, for a 400; `undefined` where nothing is.
 */
export function findHeadFault(request: IncomingMessage): string | undefined {
  const { url = '/', headers } = request
  if (url.includes('#')) return 'The request target has a # in it, which is never sent: write it as %23.'
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
