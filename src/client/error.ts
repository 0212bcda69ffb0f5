import type { ErrorCode } from '../domain/errors.ts'

/** `NETWORK_ERROR`: no answer came, or one that is not Porthor's. A later server may have codes of its own. */
export type PorthorClientErrorCode =
  | ErrorCode
  | 'INTERNAL_SERVER_ERROR'
  | 'NETWORK_ERROR'
  | (string & Record<never, never>)

/** One of the `errors` of a GraphQL answer. */
export interface AnswerError {
  readonly message: string
  readonly path?: readonly (string | number)[]
  readonly extensions?: Readonly<Record<string, unknown>>
}

export interface PorthorClientErrorFacts {
  readonly code: PorthorClientErrorCode
  readonly status?: number | undefined
  readonly retryable?: boolean
  readonly errors?: readonly AnswerError[]
}

/** A request that failed. Holds no token and, unless the server repeats one, no header of the request. */
export class PorthorClientError extends Error {
  override readonly name = 'PorthorClientError'
  readonly code: PorthorClientErrorCode
  /** HTTP status of the answer; `undefined` when none came. */
  readonly status: number | undefined
  /** The same request may succeed later. One that got no answer may have been carried out all the same. */
  readonly retryable: boolean
  /** What Porthor said; empty when it said nothing. */
  readonly errors: readonly AnswerError[]

  constructor(message: string, facts: PorthorClientErrorFacts) {
    super(message)
    this.code = facts.code
    this.status = facts.status
    this.retryable = facts.retryable ?? false
    this.errors = facts.errors ?? []
  }
}
