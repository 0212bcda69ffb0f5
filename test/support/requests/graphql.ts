export interface GraphQLAnswer {
  readonly status: number
  readonly headers: Headers
  readonly data: Record<string, unknown> | null | undefined
  readonly errors: readonly { readonly message: string; readonly extensions: Record<string, unknown> }[]
  /** `extensions.code` of the first error. */
  readonly code: unknown
}

export interface AskOptions {
  readonly token?: string
  readonly variables?: Record<string, unknown>
  readonly headers?: Record<string, string>
}

/** Asks the server at `url` over HTTP. */
export async function askGraphQL(
  url: string,
  query: string,
  { token, variables, headers }: AskOptions = {},
): Promise<GraphQLAnswer> {
  const response = await fetch(url, {
    method: 'POST',
    headers: {
      'Content-Type': 'application/json',
      ...(token !== undefined && { Authorization: `Bearer ${token}` }),
      ...headers,
    },
    body: JSON.stringify({ query, variables }),
  })
  const { data, errors = [] } = (await response.json()) as Partial<GraphQLAnswer>
  return {
    status: response.status,
    headers: response.headers,
    data,
    errors,
    code: errors[0]?.extensions.code,
  }
}

/**
 * Asks again, as clients should, while the answer is that it can be repeated: on a busy machine the first connections
 * may take longer than a request waits for one. For what prepares a test, and not for what it tests.
 */
export async function askUntilAvailable(ask: () => Promise<GraphQLAnswer>): Promise<GraphQLAnswer> {
  let answer = await ask()
  for (let times = 0; times < 5 && answer.code === 'UNAVAILABLE'; times += 1) answer = await ask()
  return answer
}

/** What an answer says under a root field. Throws, with its errors, where it says nothing. */
export function fieldOf<T extends object>({ data, errors }: GraphQLAnswer, field: string): T {
  const value = data?.[field]
  if (typeof value !== 'object' || value === null) throw new Error(`no ${field}: ${JSON.stringify(errors)}`)
  return value as T
}
