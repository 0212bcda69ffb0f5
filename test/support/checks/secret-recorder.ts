import { expect } from 'vitest'
import { parseToken } from '../../../src/domain/token.ts'
import type { Porthor } from '../porthor/porthor.ts'
import { send } from '../requests/http.ts'
import { type FormFields, postForm } from '../requests/oauth.ts'

const BEARER = /gt-[\w-]{22}\.[\w-]{22}/g
/** A field of an answer whose job it is to carry a token. */
const TOKEN_FIELD = /"(?:access_)?token":"gt-[\w-]{22}\.[\w-]{22}"/g

/** Everything that a run of requests has let out, and every secret that it knew. */
export class SecretRecorder {
  readonly answers: string[] = []
  readonly outputs: string[] = []
  readonly secrets = new Set<string>()
  readonly #h: Porthor

  constructor(h: Porthor) {
    this.#h = h
    this.keep(h.bootstrapToken)
    for (const name of ['SESSION_SECRET', 'DATABASE_URL', 'REDIS_URL']) this.keep(h.env[name] ?? '')
  }

  /** Notes a secret; of a bearer string and of a URL, the part that is secret by itself too. */
  keep(secret: string): string {
    if (secret) this.secrets.add(secret)
    for (const bearer of secret.match(BEARER) ?? []) this.secrets.add(parseToken(bearer).secret)
    if (URL.canParse(secret) && new URL(secret).password) this.secrets.add(new URL(secret).password)
    return secret
  }

  async ask(query: string, token?: string, variables: object = {}): Promise<string> {
    return this.post(JSON.stringify({ query, variables }), token)
  }

  async post(body: string, token?: string, more: object = {}): Promise<string> {
    const headers = {
      ...more,
      'Content-Type': 'application/json',
      'User-Agent': `tool/${this.#h.bootstrapToken}`,
      ...(token !== undefined && { Authorization: `Bearer ${token}` }),
    }
    return this.note(await send(this.#h.url, { method: 'POST', headers }, [body]))
  }

  /** Sends a form to an OAuth endpoint. */
  async form(
    path: string,
    fields: FormFields | string,
    headers: Record<string, string> = {},
  ): Promise<string> {
    return this.note(await postForm(this.#h, path, fields, headers))
  }

  note({ headers, body }: Awaited<ReturnType<typeof send>>): string {
    for (const field of body.match(TOKEN_FIELD) ?? [])
      for (const token of field.match(BEARER) ?? []) this.keep(token)
    this.answers.push(`${JSON.stringify(headers)}\n${body}`)
    return body
  }

  /** Keeps what is to be read at this moment beside the answers: metrics, and the tables as text. */
  async look(): Promise<void> {
    this.outputs.push((await send(new URL('/metrics', this.#h.url).href)).body)
    for (const path of ['/readyz', '/livez']) this.note(await send(new URL(path, this.#h.url).href))
    for (const table of ['token', 'subtoken', 'token_change_history', 'porthor_token_store']) {
      const rows = await this.#h.sql(`SELECT row_to_json(t) AS row FROM ${table} t`)
      this.outputs.push(JSON.stringify(rows))
    }
  }

  /** The answers without the fields that are there to carry a token. */
  withoutTokenFields(): string[] {
    return this.answers.map((answer) => answer.replace(TOKEN_FIELD, ''))
  }

  /** Codes of GraphQL errors, and errors of OAuth. */
  codes(): Set<string> {
    return new Set(
      this.answers.flatMap((answer) =>
        [...answer.matchAll(/"(?:code|error)":"(\w+)"/g)].map(([, code]) => code ?? ''),
      ),
    )
  }
}

export const tokenIn = (body: string): string => body.match(BEARER)?.[0] ?? expect.fail(`no token in ${body}`)
