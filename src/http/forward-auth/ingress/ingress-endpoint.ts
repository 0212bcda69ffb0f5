import type { IncomingMessage, ServerResponse } from 'node:http'
import { LRUCache } from 'lru-cache'
import type { App } from '../../../app.ts'
import { systemClock } from '../../../lib/clock.ts'
import type { Fernet } from '../../../lib/fernet.ts'
import { authorizationValues } from '../../authorization.ts'
import { clientAddress } from '../../client-address.ts'
import { valuesOf } from '../../request-head.ts'
import { type AuthResponse, writeAuthResponse } from '../auth-response.ts'
import { findTokenInState, STATE_COOKIE, sessionCookieNames } from '../cookie-state.ts'
import { findCookie } from '../cookies.ts'
import { type Exchange, Responses, settle } from '../exchange.ts'
import type { AuthMetrics } from '../metrics.ts'
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

interface IngressExchange extends Exchange {
  readonly facts: ChallengeFacts
}

/** Responds to the requests of proxies at `/ingress/auth` and `/ingress/anonymous` as Gafaelfawr does. */
export class IngressEndpoint {
  readonly #options: IngressOptions
  readonly #sessionCookies: ReadonlySet<string>
  readonly #queries = new LRUCache<string, IngressQuery>({ max: MAX_QUERIES })
  readonly #addressOf: (request: IncomingMessage) => string | undefined
  readonly #decider: IngressDecider
  readonly #responses: Responses
  readonly #count: Readonly<Record<typeof AUTH | typeof ANONYMOUS, ReturnType<AuthMetrics['counterOf']>>>

  constructor(app: App, metrics: AuthMetrics, options: IngressOptions) {
    this.#options = options
    this.#sessionCookies = sessionCookieNames(options.sessionCookie)
    this.#addressOf = clientAddress(app.config.trustedProxies)
    this.#decider = new IngressDecider(app)
    this.#responses = new Responses(app.log)
    this.#count = { [AUTH]: metrics.counterOf(AUTH), [ANONYMOUS]: metrics.counterOf(ANONYMOUS) }
  }

  /** Responds to a request for `/ingress/auth`. */
  handleAuth(request: IncomingMessage, response: ServerResponse): void {
    const startedAt = systemClock.monotonicMs()
    const query = this.#parse(request.url ?? '')
    const exchange: IngressExchange = {
      request,
      response,
      policy: AUTH,
      count: this.#count[AUTH],
      facts: {
        authType: query.credentials.value?.authType ?? 'bearer',
        realm: this.#options.realm,
        isAjax: firstValue(request, 'x-requested-with')?.toLowerCase() === 'xmlhttprequest',
      },
      ipAddress: this.#addressOf(request) ?? null,
      startedAt,
    }
    if (request.method === 'GET') this.#check(exchange, query)
    else this.#responses.write(exchange, 'BAD_REQUEST', METHOD_NOT_ALLOWED)
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

  #check(exchange: IngressExchange, query: IngressQuery): void {
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

  #decide(exchange: IngressExchange, request: IngressRequest, source: CredentialSource): void {
    settle<IngressPass | Refusal>(
      { find: () => this.#decider.findDecision(request), get: () => this.#decider.decide(request) },
      (decision) => {
        if (decision.kind === 'pass') this.#pass(exchange, decision)
        else this.#refuse(exchange, decision)
      },
      (error) => this.#fail(exchange, error, request.bearer, source),
    )
  }

  #pass(exchange: IngressExchange, pass: IngressPass): void {
    const response = allowPass(pass, sentHeaders(exchange.request), this.#sessionCookies)
    this.#responses.write(exchange, 'ok', response, pass)
  }

  #fail(exchange: IngressExchange, error: unknown, bearer: string, source: CredentialSource): void {
    const refusal = findErrorRefusal(error, source)
    const isExpected = refusal !== undefined
    const requestId = this.#responses.logFailure(exchange, error, { isExpected, bearer })
    this.#refuse(exchange, refusal ?? { kind: 'unexpected', requestId })
  }

  #refuse(exchange: IngressExchange, refusal: Refusal): void {
    this.#responses.write(exchange, outcomeOf(refusal), toResponse(refusal, exchange.facts))
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
