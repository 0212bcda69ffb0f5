import { once } from 'node:events'
import { type IncomingMessage, type OutgoingHttpHeaders, request } from 'node:http'
import { Fernet } from '../../../src/lib/fernet.ts'
import type { Porthor } from '../porthor/porthor.ts'

/** A response of `/ingress/auth` or `/ingress/anonymous`. */
export interface IngressAnswer {
  readonly status: number
  /** All fields, as they were sent. */
  readonly raw: readonly (readonly [name: string, value: string])[]
  /** Values of the field with this name, in order. */
  values(name: string): string[]
  /** Value of the one field with this name. */
  value(name: string): string | undefined
  readonly body: string
  /** `detail` of the body. */
  readonly detail: unknown
}

/** What a proxy adds to each request. */
export const FROM_PROXY = { 'X-Original-Method': 'GET', 'X-Original-URL': 'https://example.org/tap?q=1' }

/** Of a response, in bytes: it reflects cookies. */
const MAX_HEADER_SIZE = 256 * 1024

/**
 * Asks as a proxy does.
 *
 * @param query With or without its question mark.
 * @param headers Beside those of `FROM_PROXY`; a value that is `undefined` leaves one out, a list repeats one.
 */
export async function askIngress(
  url: string,
  query = '',
  headers: OutgoingHttpHeaders | Record<string, undefined> = {},
  { path = '/ingress/auth', method = 'GET' } = {},
): Promise<IngressAnswer> {
  const target = new URL(`${path}${query && `?${query.replace(/^\?/, '')}`}`, url)
  const fields: OutgoingHttpHeaders = { ...FROM_PROXY, ...headers }
  for (const [name, value] of Object.entries(fields)) if (value === undefined) delete fields[name]
  const sent = request(target, { agent: false, method, headers: fields, maxHeaderSize: MAX_HEADER_SIZE })
  sent.end()
  const [response] = (await once(sent, 'response')) as [IncomingMessage]
  let body = ''
  for await (const part of response.setEncoding('utf8')) body += part
  const raw = response.rawHeaders.flatMap((name, index, all) =>
    index % 2 === 0 ? [[name, all[index + 1] ?? ''] as const] : [],
  )
  const values = (name: string) =>
    raw.filter(([other]) => other.toLowerCase() === name.toLowerCase()).map(([, value]) => value)
  return {
    status: response.statusCode ?? 0,
    raw,
    values,
    value: (name) => {
      const [value, ...others] = values(name)
      if (others.length > 0) throw new Error(`several ${name} fields`)
      return value
    },
    body,
    get detail() {
      return (JSON.parse(body) as { detail: unknown }).detail
    },
  }
}

/** The cookie of a user whose session token this is, as Gafaelfawr sets it. */
export function stateCookie({ env, clock }: Porthor, bearer: string): string {
  const fernet = new Fernet((env.SESSION_SECRET ?? '').split(','))
  return `gafaelfawr=${fernet.encrypt(JSON.stringify({ csrf: 'x', token: bearer }), { now: clock.now() })}`
}

export const basic = (username: string, password: string): string =>
  `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`
