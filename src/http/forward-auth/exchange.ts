import { randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Logger } from 'pino'
import { UnavailableError } from '../../domain/errors.ts'
import type { TokenData } from '../../domain/token.ts'
import { systemClock } from '../../lib/clock.ts'
import type { DelegatedToken } from '../../services/delegation/token-cache-service.ts'
import { logUnavailable, logUnexpected } from '../error-log.ts'
import { RefusalLog } from '../refusal-log.ts'
import { type AuthResponse, writeAuthResponse } from './auth-response.ts'
import type { AuthOutcome } from './metrics.ts'

/** A request of a gateway on its way. */
export interface Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  /** Name in logs: that of the policy, or of the endpoint. */
  readonly policy: string
  readonly count: (outcome: AuthOutcome, seconds: number) => void
  readonly ipAddress: string | null
  /** Time of `systemClock.monotonicMs()`, in milliseconds. */
  readonly startedAt: number
}

/** A request passes: the user's token, and what is delegated from it. */
export interface Pass {
  readonly data: TokenData
  readonly delegated: DelegatedToken | undefined
}

/** How a decision is made: `find` in memory, with `undefined` where that is not enough, and else `get`. */
export interface Deciding<T> {
  readonly find: () => T | undefined
  readonly get: () => Promise<T>
}

/** Passes on a decision, or its error. Without a promise where everything is in memory, as for most requests. */
export function settle<T>(
  { find, get }: Deciding<T>,
  onDecision: (decision: T) => void,
  onError: (error: unknown) => void,
): void {
  let found: T | undefined
  try {
    found = find()
  } catch (error) {
    onError(error)
    return
  }
  if (found === undefined) get().then(onDecision, onError)
  else onDecision(found)
}

/** Writes the responses to gateways, with a line in the log for each. */
export class Responses {
  readonly #log: Logger
  readonly #refusals: RefusalLog

  constructor(log: Logger) {
    this.#log = log
    this.#refusals = new RefusalLog(log)
  }

  /** Logs why a request failed. @returns The id of the request, which the response to a bug states. */
  logFailure(
    { ipAddress }: Exchange,
    error: unknown,
    { isExpected, bearer }: { readonly isExpected: boolean; readonly bearer?: string | undefined },
  ): string {
    const requestId = randomUUID()
    if (error instanceof UnavailableError) logUnavailable(error, requestId, this.#log)
    else if (isExpected) this.#refusals.token(error, bearer, ipAddress)
    else logUnexpected(error, requestId, this.#log)
    return requestId
  }

  /** Logs, within limits, that a request was refused before it was known what it is about. */
  logUnknown(ipAddress: string | null, status: number, reason: string): void {
    this.#refusals.request({ ipAddress, status, reason })
  }

  write(exchange: Exchange, outcome: AuthOutcome, response: AuthResponse, pass?: Pass): void {
    const { policy, count, ipAddress, startedAt } = exchange
    const durationMs = systemClock.monotonicMs() - startedAt
    count(outcome, durationMs / 1000)
    this.#log.info(
      {
        policy,
        username: pass?.data.username,
        tokenKey: pass?.data.token.key,
        source: pass?.delegated?.source,
        ipAddress,
        outcome,
        durationMs: Math.round(durationMs * 1000) / 1000,
      },
      'forward-auth',
    )
    writeAuthResponse(exchange.request, exchange.response, response)
  }
}
