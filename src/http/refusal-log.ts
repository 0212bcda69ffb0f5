import type { Logger } from 'pino'
import { PorthorError, UnauthenticatedError } from '../domain/errors.ts'
import { findToken } from '../domain/token.ts'
import { RateLimitedLog } from '../lib/rate-limited-log.ts'

/** Lines of each kind: enough to see what happens, too few to fill a disk. */
const LINES_PER_MINUTE = 60

/** Length of a reason in a line, in characters. */
const MAX_REASON_LENGTH = 200

/** Facts of a request that was refused before anything was executed. */
export interface Refusal {
  readonly ipAddress: string | null
  readonly status: number
  readonly code?: unknown
  readonly reason?: string
}

/** Logs refused requests and tokens, which have no line as an operation. The rate is limited: any client can cause them. */
export class RefusalLog {
  readonly #requests: RateLimitedLog
  readonly #tokens: RateLimitedLog

  constructor(log: Logger) {
    this.#requests = new RateLimitedLog(log, LINES_PER_MINUTE)
    this.#tokens = new RateLimitedLog(log, LINES_PER_MINUTE)
  }

  /** Logs a request that was refused before anything was executed. */
  request({ reason, ...refusal }: Refusal): void {
    this.#requests.info({ ...refusal, reason: reason?.slice(0, MAX_REASON_LENGTH) }, 'refused request')
  }

  /** Logs why a token was refused, which the response does not say. */
  token(error: unknown, bearer: string | undefined, ipAddress: string | null): void {
    if (!(error instanceof PorthorError) || error.code === 'UNAVAILABLE') return
    const { reason, role } =
      error instanceof UnauthenticatedError ? error : { reason: error.code, role: 'current' }
    const tokenKey = bearer === undefined ? undefined : findToken(bearer)?.key
    this.#tokens.info({ ipAddress, tokenKey, reason, role }, 'refused token')
  }
}
