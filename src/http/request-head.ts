import type { IncomingMessage } from 'node:http'
import { SUBJECT_HEADER } from '../domain/errors.ts'

/** RFC 9112, section 3.2.2: a whole URL, which a server must accept although clients send it only to proxies. */
const ABSOLUTE_FORM = /^https?:\/\/[^/?#]*(.*)$/i

/**
 * Checks target and `Host` of a request beyond what Node checks, and normalises the target in `request`: one in absolute
 * form becomes its path and query. Requires `joinDuplicateHeaders`.
 *
 * @returns The message of a 400 response; `undefined` where they are valid.
 */
export function findTargetProblem(request: IncomingMessage): string | undefined {
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
  return undefined
}

/** Returns the path of a request as it was sent: nothing in it is decoded or resolved. */
export const pathOf = ({ url }: IncomingMessage): string | undefined => url?.split('?', 1)[0]

/** `SUBJECT_HEADER` as Node has it. */
const SUBJECT_FIELD = SUBJECT_HEADER.toLowerCase()

/** Returns the value of `SUBJECT_HEADER`; `undefined` where there is none. */
export function subjectHeaderOf({ headers }: IncomingMessage): string | undefined {
  const value = headers[SUBJECT_FIELD]
  // Only `Set-Cookie` is a list.
  return Array.isArray(value) ? value.join() : value
}

/** As `findTargetProblem`, for the whole head: equal `Authorization` fields become one. */
export function findHeadProblem(request: IncomingMessage): string | undefined {
  const problem = findTargetProblem(request)
  if (problem !== undefined) return problem
  const { headers } = request
  if (headers.authorization?.includes(',')) {
    const [first, ...others] = valuesOf(request, 'authorization')
    if (others.some((value) => value !== first)) {
      return 'There are several Authorization fields that differ: send one.'
    }
    if (first !== undefined) headers.authorization = first
  }
  // Also where they are equal: only a gateway sends this one, and a second one is its client's.
  if (subjectHeaderOf(request)?.includes(',') && valuesOf(request, SUBJECT_FIELD).length > 1) {
    return `There are several ${SUBJECT_HEADER} fields: send one.`
  }
  return undefined
}

/** Returns the values of all fields with this name, in lower case, in the order in which they were sent. */
export function valuesOf({ rawHeaders }: IncomingMessage, name: string): string[] {
  const values: string[] = []
  for (let index = 0; index < rawHeaders.length; index += 2) {
    if (rawHeaders[index]?.toLowerCase() === name) values.push(rawHeaders[index + 1] ?? '')
  }
  return values
}
