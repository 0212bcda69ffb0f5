import type { IncomingMessage, ServerResponse } from 'node:http'
import type { App } from '../../app.ts'
import type { AuthPolicy, TokenPolicy } from '../../domain/auth-policy.ts'
import { UnauthenticatedError } from '../../domain/errors.ts'
import { systemClock } from '../../lib/clock.ts'
import { clientAddress } from '../client-address.ts'
import { refuse, writeAuthResponse } from './auth-response.ts'
import { type Exchange, type Pass, Responses, settle } from './exchange.ts'
import type { AuthMetrics, AuthOutcome } from './metrics.ts'
import { findCredential, type SessionCookie } from './policy-credential.ts'
import { PolicyDecider } from './policy-decider.ts'
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

interface PolicyExchange extends Exchange {
  readonly prepared: PreparedPolicy
}

export interface PolicyEndpointOptions {
  readonly policies: ReadonlyMap<string, AuthPolicy>
  readonly cookie: SessionCookie | undefined
  /** Of challenges. */
  readonly realm: string
}

/** Responds to the requests of gateways at `/auth/<policy>`. Only the policy and the user's token decide. */
export class PolicyEndpoint {
  readonly #cookie: SessionCookie | undefined
  readonly #realm: string
  readonly #policies: ReadonlyMap<string, PreparedPolicy>
  readonly #countUnknown: PreparedPolicy['count']
  readonly #addressOf: (request: IncomingMessage) => string | undefined
  readonly #decider: PolicyDecider
  readonly #responder: PolicyResponder
  readonly #responses: Responses

  constructor(app: App, metrics: AuthMetrics, { policies, cookie, realm }: PolicyEndpointOptions) {
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
    this.#responses = new Responses(app.log)
  }

  handle(request: IncomingMessage, response: ServerResponse): void {
    const startedAt = systemClock.monotonicMs()
    const ipAddress = this.#addressOf(request) ?? null
    const prepared = this.#find(request.url ?? '')
    if (!prepared) {
      this.#countUnknown('NOT_FOUND', (systemClock.monotonicMs() - startedAt) / 1000)
      this.#responses.logUnknown(ipAddress, UNKNOWN_POLICY.status, 'unknown policy')
      writeAuthResponse(request, response, UNKNOWN_POLICY)
      return
    }
    const { policy, count } = prepared
    const exchange = { request, response, policy: policy.name, count, prepared, ipAddress, startedAt }
    if (policy.kind === 'anonymous') this.#pass(exchange, undefined)
    else this.#check(exchange, policy)
  }

  /** The name is a segment of the path as it was sent: nothing in it is decoded or resolved. */
  #find(target: string): PreparedPolicy | undefined {
    if (!target.startsWith(PREFIX)) return undefined
    const rest = target.slice(PREFIX.length)
    const end = rest.search(/[/?]/)
    return this.#policies.get(end < 0 ? rest : rest.slice(0, end))
  }

  #check(exchange: PolicyExchange, policy: TokenPolicy): void {
    const credential = findCredential(exchange.request, this.#cookie)
    if (credential.kind === 'ambiguous') this.#refuse(exchange, AMBIGUOUS)
    else if (credential.kind === 'none') this.#fail(exchange, new UnauthenticatedError('missing'))
    else this.#decide(exchange, policy, credential.text)
  }

  #decide(exchange: PolicyExchange, policy: TokenPolicy, bearer: string): void {
    settle(
      {
        find: () => this.#decider.findPass(policy, bearer),
        get: () => this.#decider.requirePass(policy, bearer, exchange.ipAddress),
      },
      (pass) => this.#pass(exchange, pass),
      (error) => this.#fail(exchange, error, bearer),
    )
  }

  #pass(exchange: PolicyExchange, pass: Pass | undefined): void {
    const { prepared, request } = exchange
    const { policy, headers } = prepared
    const response =
      pass && policy.kind === 'token'
        ? this.#responder.allow(policy, headers, pass, request)
        : this.#responder.allowAnonymous(headers, request)
    this.#responses.write(exchange, 'ok', response, pass)
  }

  #fail(exchange: PolicyExchange, error: unknown, bearer?: string): void {
    const refusal = findRefusal(error)
    const isExpected = refusal !== undefined
    const requestId = this.#responses.logFailure(exchange, error, { isExpected, bearer })
    this.#refuse(exchange, refusal ?? toUnexpected(requestId))
  }

  #refuse(exchange: PolicyExchange, { outcome, refusal }: CountedRefusal): void {
    this.#responses.write(exchange, outcome, refuse(refusal, exchange.prepared.headers, this.#realm))
  }
}
