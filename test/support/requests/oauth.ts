import type { OutgoingHttpHeaders } from 'node:http'
import type { Porthor } from '../porthor/porthor.ts'
import { type HttpAnswer, send } from './http.ts'

export const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'
export const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token'
export const NOTEBOOK = 'urn:porthor:params:oauth:token-type:notebook'

export interface OAuthAnswer extends HttpAnswer {
  /** The parsed body; empty where there is none. */
  readonly json: Readonly<Record<string, unknown>>
}

export type FormFields = Readonly<Record<string, string>> | readonly (readonly [string, string])[]

const FORM = { 'Content-Type': 'application/x-www-form-urlencoded' }

/** Sends a form, or a body as it is, to a path of `h`. */
export async function postForm(
  h: Pick<Porthor, 'url'>,
  path: string,
  fields: FormFields | string | Buffer,
  headers: OutgoingHttpHeaders = {},
): Promise<OAuthAnswer> {
  const body =
    typeof fields === 'string' || Buffer.isBuffer(fields)
      ? fields
      : new URLSearchParams(fields as Record<string, string>).toString()
  const answer = await send(
    new URL(path, h.url).href,
    { method: 'POST', headers: { ...FORM, 'Content-Length': Buffer.byteLength(body), ...headers } },
    [body],
  )
  return { ...answer, json: answer.body === '' ? {} : JSON.parse(answer.body) }
}

/** Fields of a token exchange for the service `tap`. */
export const exchangeOf = (subject: string, fields: Readonly<Record<string, string>> = {}) => ({
  grant_type: TOKEN_EXCHANGE,
  subject_token: subject,
  subject_token_type: ACCESS_TOKEN,
  audience: 'tap',
  ...fields,
})

export const bearer = (token: string) => ({ Authorization: `Bearer ${token}` })

/** Both halves are form-encoded by themselves (RFC 6749 2.3.1). */
export const basic = (username: string, password: string) => ({
  Authorization: `Basic ${Buffer.from(`${encode(username)}:${encode(password)}`).toString('base64')}`,
})

const encode = (text: string): string => new URLSearchParams([['', text]]).toString().slice(1)

/** Creates a service token of a bot; returns its bearer string. */
export async function serviceToken(h: Porthor, username: string, scopes: readonly string[]): Promise<string> {
  const { data, errors } = await h.ask(
    'mutation ($input: CreateServiceTokenInput!) { createServiceToken(input: $input) { token } }',
    { token: h.bootstrapToken, variables: { input: { username, scopes } } },
  )
  if (!data) throw new Error(`no service token: ${JSON.stringify(errors)}`)
  return (data as { createServiceToken: { token: string } }).createServiceToken.token
}
