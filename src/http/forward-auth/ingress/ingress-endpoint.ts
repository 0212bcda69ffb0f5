import { randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { LRUCache } from 'lru-cache'
import type { App } from '../../../app.ts'
import { UnavailableError } from '../../../domain/errors.ts'
import { systemClock } from '../../../lib/clock.ts'
import type { Fernet } from '../../../lib/fernet.ts'
import { authorizationValues } from '../../authorization.ts'
import { clientAddress } from '../../client-address.ts'
import { logUnavailable, logUnexpected } from '../../error-log.ts'
import { RefusalLog } from '../../graphql/results/refusal-log.ts'
import { valuesOf } from '../../request-head.ts'
import { type AuthResponse, writeAuthResponse } from '../auth-response.ts'
import { findTokenInState, STATE_COOKIE, sessionCookieNames } from '../cookie-state.ts'
import { findCookie } from '../cookies.ts'
import type { AuthMetrics, AuthOutcome } from '../metrics.ts'
import { checkUnseen, type OriginalRequest } from './checks.ts'
import { type CredentialSource, findCredential } from './credential.ts'
import { IngressDecider, type IngressPass, type IngressRequest } from './ingress-decider.ts'
import { type IngressQuery, parseIngressQuery } from './ingress-query.ts'
import { allowAnonymous, allowPass, type SentHeaders } from './pass-response.ts'
import { type ChallengeFacts, outcomeOf, type Refusal, toResponse } from './refusal.ts'
import { findErrorRefusal } from './refused-error.ts'

/** Number of parsed queries in memory, and the length of one, in characters: an installation has some for each service. */
const MAX_QUERIES = 1_000
const MAX_CACHED_QUERY_LENGTH = 2_000

/** Names in logs and metrics. They are not valid names of policies. */
const AUTH = 'ingress/auth'
const ANONYMOUS = 'ingress/anonymous'

const METHOD_NOT_ALLOWED: AuthResponse = {
  status: 405,
  headers: ['Cache-Control', 'no-cache, no-store', 'Content-Type', 'application/json', 'Allow', 'GET'],
  body: JSON.stringify({ detail: 'Method Not Allowed' }),
}

export interface IngressOptions {
  /** Realm of challenges. */
  readonly realm: string
  /** Decrypts state cookies. */
  readonly encryption: Fernet
  /** Cookie in which users present tokens at other endpoints: no service gets it. */
  readonly sessionCookie: string | undefined
}

/** A request on its way. */
interface Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly facts: ChallengeFacts
  readonly ipAddress: string | null
  /** Time of `systemClock.monotonicMs()`, in milliseconds. */
  readonly startedAt: number
}

/** Responds to the requests of proxies at `/ingress/auth` and `/ingress/anonymous` as Gafaelfawr does. */
export class IngressEndpoint {
  readonly #app: App
  readonly #options: IngressOptions
  readonly #sessionCookies: ReadonlySet<string>
  readonly #queries = new LRUCache<string, IngressQuery>({ max: MAX_QUERIES })
  readonly #addressOf: (request: IncomingMessage) => string | undefined
  readonly #decider: IngressDecider
  readonly #refusals: RefusalLog
  readonly #count: Readonly<Record<typeof AUTH | typeof ANONYMOUS, ReturnType<AuthMetrics['counterOf']>>>

  constructor(app: App, metrics: AuthMetrics, options: IngressOptions) {
    this.#app = app
    this.#options = options
    this.#sessionCookies = sessionCookieNames(options.sessionCookie)
    this.#addressOf = clientAddress(app.config.trustedProxies)
    this.#decider = new IngressDecider(app)
    this.#refusals = new RefusalLog(app.log)
    this.#count = { [AUTH]: metrics.counterOf(AUTH), [ANONYMOUS]: metrics.counterOf(ANONYMOUS) }
  }

  /** Responds to a request for `/ingress/auth`. */
  handleAuth(request: IncomingMessage, response: ServerResponse): void {
    const startedAt = systemClock.monotonicMs()
    const query = this.#parse(request.url ?? '')
    const exchange: Exchange = {
      request,
      response,
      facts: {
        authType: query.credentials.value?.authType ?? 'bearer',
        realm: this.#options.realm,
        isAjax: firstValue(request, 'x-requested-with')?.toLowerCase() === 'xmlhttprequest',
      },
      ipAddress: this.#addressOf(request) ?? null,
      startedAt,
    }
    if (request.method === 'GET') this.#check(exchange, query)
    else this.#respond(exchange, 'BAD_REQUEST', METHOD_NOT_ALLOWED)
  }

  /** Responds to a request for `/ingress/anonymous`. */
  handleAnonymous(request: IncomingMessage, response: ServerResponse): void {
    const startedAt = systemClock.monotonicMs()
    const isAllowed = request.method === 'GET'
    const result = isAllowed ? allowAnonymous(sentHeaders(request), this.#sessionCookies) : METHOD_NOT_ALLOWED
    this.#count[ANONYMOUS](isAllowed ? 'ok' : 'BAD_REQUEST', (systemClock.monotonicMs() - startedAt) / 1000)
    writeAuthResponse(request, response, result)
  }

  #parse(target: string): IngressQuery {
    const mark = target.indexOf('?')
    const query = mark < 0 ? '' : target.slice(mark + 1)
    if (query.length > MAX_CACHED_QUERY_LENGTH) return parseIngressQuery(query)
    const known = this.#queries.get(query)
    if (known) return known
    const parsed = parseIngressQuery(query)
    this.#queries.set(query, parsed)
    return parsed
  }

  #check(exchange: Exchange, query: IngressQuery): void {
    const { request, ipAddress } = exchange
    const original: OriginalRequest = {
      method: firstValue(request, 'x-original-method'),
      hasUrl: request.headers['x-original-url'] !== undefined,
    }
    const { rules, refusal } = checkUnseen(query, original)
    if (refusal) {
      this.#refuse(exchange, refusal)
      return
    }
    const findCookieToken = () => this.#findCookieToken(request)
    const credential = findCredential(authorizationValues(request), findCookieToken, rules)
    if (credential.kind === 'token') {
      const { bearer, source } = credential
      this.#decide(exchange, { query, original, bearer, ipAddress }, source)
    } else if (credential.kind === 'malformed') {
      const { description } = credential
      this.#refuse(exchange, { kind: 'bearer', error: { code: 'invalid_request', description } })
    } else {
      this.#refuse(exchange, { kind: 'unauthenticated' })
    }
  }

  #findCookieToken({ headers: { cookie } }: IncomingMessage): string | undefined {
    const value = cookie === undefined ? undefined : findCookie([cookie], STATE_COOKIE)
    return value && findTokenInState(value, this.#options.encryption)
  }

  /** Without a promise where everything is in memory, as for most requests. */
  #decide(exchange: Exchange, request: IngressRequest, source: CredentialSource): void {
    const onDecision = (decision: IngressPass | Refusal): void => {
      if (decision.kind === 'pass') this.#pass(exchange, decision)
      else this.#refuse(exchange, decision)
    }
    const onError = (error: unknown): void => this.#fail(exchange, error, request.bearer, source)
    let found: IngressPass | Refusal | undefined
    try {
      found = this.#decider.findDecision(request)
    } catch (error) {
      onError(error)
      return
    }
    if (found) onDecision(found)
    else this.#decider.decide(request).then(onDecision, onError)
  }

  #pass(exchange: Exchange, pass: IngressPass): void {
    const response = allowPass(pass, sentHeaders(exchange.request), this.#sessionCookies)
    this.#respond(exchange, 'ok', response, pass)
  }

  #fail(exchange: Exchange, error: unknown, bearer: string, source: CredentialSource): void {
    const { log } = this.#app
    const requestId = randomUUID()
    const refusal = findErrorRefusal(error, source)
    if (error instanceof UnavailableError) logUnavailable(error, requestId, log)
    else if (!refusal) logUnexpected(error, requestId, log)
    else this.#refusals.token(error, bearer, exchange.ipAddress)
    this.#refuse(exchange, refusal ?? { kind: 'unexpected', requestId })
  }

  #refuse(exchange: Exchange, refusal: Refusal): void {
    this.#respond(exchange, outcomeOf(refusal), toResponse(refusal, exchange.facts))
  }

  #respond(exchange: Exchange, outcome: AuthOutcome, response: AuthResponse, pass?: IngressPass): void {
    const { request, ipAddress, startedAt } = exchange
    const durationMs = systemClock.monotonicMs() - startedAt
    this.#count[AUTH](outcome, durationMs / 1000)
    this.#app.log.info(
      {
        policy: AUTH,
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

/** Returns the value of the first field with this name, in lower case. Node joins several by commas. */
function firstValue(request: IncomingMessage, name: string): string | undefined {
  const value = request.headers[name]
  if (value === undefined) return undefined
  return value.includes(',') ? valuesOf(request, name)[0] : String(value)
}

const sentHeaders = (request: IncomingMessage): SentHeaders => ({
  authorizations: authorizationValues(request),
  cookies: request.headers.cookie === undefined ? [] : [request.headers.cookie],
})
