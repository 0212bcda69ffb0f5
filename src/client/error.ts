import type { ErrorCode } from '../domain/errors.ts'

/** `NETWORK_ERROR`: there was no response, or it was not from Porthor. A later server may have other codes. */
export type PorthorClientErrorCode =
  | ErrorCode
  | 'INTERNAL_SERVER_ERROR'
  | 'NETWORK_ERROR'
  | (string & Record<never, never>)

/** An item of `errors` in a GraphQL response. */
export interface AnswerError {
  readonly message: string
  readonly path?: readonly (string | number)[]
  /** The code, and values such as `missingScopes`, `minimum` and `maximum`: see docs/reference/errors.md. */
  readonly extensions?: Readonly<Record<string, unknown>>
}

export interface PorthorClientErrorFacts {
  readonly code: PorthorClientErrorCode
  readonly status?: number | undefined
  readonly retryable?: boolean
  readonly errors?: readonly AnswerError[]
}

/** A request that failed. Contains no token and, unless the server repeats it, no header of the request. */
export class PorthorClientError extends Error {
  override readonly name = 'PorthorClientError'
  readonly code: PorthorClientErrorCode
  /** HTTP status of the response; `undefined` if there was none. */
  readonly status: number | undefined
  /** Whether the same request may succeed later. A request without a response may have been executed. */
  readonly retryable: boolean
  /** Errors of the response; empty if it has none. */
  readonly errors: readonly AnswerError[]

  constructor(message: string, facts: PorthorClientErrorFacts) {
    super(message)
    this.code = facts.code
    this.status = facts.status
    this.retryable = facts.retryable ?? false
    this.errors = facts.errors ?? []
  }
}
