import { randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { App } from '../../app.ts'
import type { AuthPolicy, TokenPolicy } from '../../domain/auth-policy.ts'
import { UnauthenticatedError, UnavailableError } from '../../domain/errors.ts'
import { systemClock } from '../../lib/clock.ts'
import { clientAddress } from '../client-address.ts'
import { logUnavailable, logUnexpected } from '../error-log.ts'
import { RefusalLog } from '../graphql/results/refusal-log.ts'
import { type AuthResponse, refuse, writeAuthResponse } from './auth-response.ts'
import type { AuthMetrics, AuthOutcome } from './metrics.ts'
import { findCredential, type SessionCookie } from './policy-credential.ts'
import { type Pass, PolicyDecider } from './policy-decider.ts'
import { AMBIGUOUS, type CountedRefusal, findRefusal } from './policy-refusals.ts'
import { PolicyResponder } from './policy-responder.ts'

/** Path of a policy: this, and its name. What follows the name is the client's own path, in some gateways. */
const PREFIX = '/auth/'

const UNKNOWN_POLICY = refuse(
  { status: 404, message: 'There is no such policy: the path is /auth/ and the name of a policy' },
  [],
)

/** Stands for a policy in logs and metrics where there is none. It is not a valid name. */
const NO_POLICY = '(unknown)'

const toUnexpected = (requestId: string): CountedRefusal => ({
  outcome: 'INTERNAL_SERVER_ERROR',
  refusal: { status: 500, message: `Internal error: report it with its request id ${requestId}` },
})

/** A policy, and what is prepared for its requests. */
interface PreparedPolicy {
  readonly policy: AuthPolicy
  readonly headers: readonly string[]
  readonly count: (outcome: AuthOutcome, seconds: number) => void
}

/** A request on its way. */
interface Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly prepared: PreparedPolicy
  readonly ipAddress: string | null
  /** Time of `systemClock.monotonicMs()`, in milliseconds. */
  readonly startedAt: number
}

export interface PolicyEndpointOptions {
  readonly policies: ReadonlyMap<string, AuthPolicy>
  readonly cookie: SessionCookie | undefined
  /** Of challenges. */
  readonly realm: string
}

/** Responds to the requests of gateways at `/auth/<policy>`. Only the policy and the user's token decide. */
export class PolicyEndpoint {
  readonly #app: App
  readonly #cookie: SessionCookie | undefined
  readonly #realm: string
  readonly #policies: ReadonlyMap<string, PreparedPolicy>
  readonly #countUnknown: PreparedPolicy['count']
  readonly #addressOf: (request: IncomingMessage) => string | undefined
  readonly #decider: PolicyDecider
  readonly #responder: PolicyResponder
  readonly #refusals: RefusalLog

  constructor(app: App, metrics: AuthMetrics, { policies, cookie, realm }: PolicyEndpointOptions) {
    this.#app = app
    this.#cookie = cookie
    this.#realm = realm
    this.#policies = new Map(
      [...policies].map(([name, policy]) => [
        name,
        { policy, headers: ['X-Auth-Request-Policy', name], count: metrics.counterOf(name) },
      ]),
    )
    this.#countUnknown = metrics.counterOf(NO_POLICY)
    this.#addressOf = clientAddress(app.config.trustedProxies)
    this.#decider = new PolicyDecider(app)
    this.#responder = new PolicyResponder(cookie)
    this.#refusals = new RefusalLog(app.log)
  }

  handle(request: IncomingMessage, response: ServerResponse): void {
    const startedAt = systemClock.monotonicMs()
    const ipAddress = this.#addressOf(request) ?? null
    const prepared = this.#find(request.url ?? '')
    if (!prepared) {
      this.#countUnknown('NOT_FOUND', (systemClock.monotonicMs() - startedAt) / 1000)
      this.#refusals.request({ ipAddress, status: UNKNOWN_POLICY.status, reason: 'unknown policy' })
      writeAuthResponse(request, response, UNKNOWN_POLICY)
      return
    }
    const exchange = { request, response, prepared, ipAddress, startedAt }
    const { policy } = prepared
    if (policy.kind === 'anonymous') this.#pass(exchange, undefined)
    else this.#check(exchange, policy)
  }

  /** The name is a segment of the path as it was sent: nothing in it is decoded or resolved. */
  #find(target: string): PreparedPolicy | undefined {
    if (!target.startsWith(PREFIX)) return undefined
    const end = target.slice(PREFIX.length).search(/[/?]/)
    return this.#policies.get(
      end < 0 ? target.slice(PREFIX.length) : target.slice(PREFIX.length, PREFIX.length + end),
    )
  }

  #check(exchange: Exchange, policy: TokenPolicy): void {
    const credential = findCredential(exchange.request, this.#cookie)
    if (credential.kind === 'ambiguous') this.#refuse(exchange, AMBIGUOUS)
    else if (credential.kind === 'none') this.#fail(exchange, new UnauthenticatedError('missing'))
    else this.#decide(exchange, policy, credential.text)
  }

  /** Without a promise where everything is in memory, as for most requests. */
  #decide(exchange: Exchange, policy: TokenPolicy, bearer: string): void {
    const onError = (error: unknown): void => this.#fail(exchange, error, bearer)
    let pass: Pass | undefined
    try {
      pass = this.#decider.findPass(policy, bearer)
    } catch (error) {
      onError(error)
      return
    }
    if (pass) this.#pass(exchange, pass)
    else
      this.#decider
        .requirePass(policy, bearer, exchange.ipAddress)
        .then((found) => this.#pass(exchange, found), onError)
  }

  #pass(exchange: Exchange, pass: Pass | undefined): void {
    const { prepared, request } = exchange
    const { policy, headers } = prepared
    const response =
      pass && policy.kind === 'token'
        ? this.#responder.allow(policy, headers, pass, request)
        : this.#responder.allowAnonymous(headers, request)
    this.#respond(exchange, 'ok', response, pass)
  }

  #fail(exchange: Exchange, error: unknown, bearer?: string): void {
    const { log } = this.#app
    const requestId = randomUUID()
    const refusal = findRefusal(error)
    if (error instanceof UnavailableError) logUnavailable(error, requestId, log)
    else if (!refusal) logUnexpected(error, requestId, log)
    else this.#refusals.token(error, bearer, exchange.ipAddress)
    this.#refuse(exchange, refusal ?? toUnexpected(requestId))
  }

  #refuse(exchange: Exchange, { outcome, refusal }: CountedRefusal): void {
    this.#respond(exchange, outcome, refuse(refusal, exchange.prepared.headers, this.#realm))
  }

  #respond(exchange: Exchange, outcome: AuthOutcome, response: AuthResponse, pass?: Pass): void {
    const { request, prepared, ipAddress, startedAt } = exchange
    const durationMs = systemClock.monotonicMs() - startedAt
    prepared.count(outcome, durationMs / 1000)
    this.#app.log.info(
      {
        policy: prepared.policy.name,
        username: pass?.data.username,
        tokenKey: pass?.data.token.key,
        source: pass?.delegated?.source,
        ipAddress,
        outcome,
        durationMs: Math.round(durationMs * 1000) / 1000,
      },
      'forward-auth',
    )
    writeAuthResponse(request, exchange.response, response)
  }
}
