import type { AuthResponse } from '../auth-response.ts'
import type { AuthOutcome } from '../metrics.ts'
import { type AuthType, type BearerError, formatChallenge } from './challenge.ts'
import type { Problem } from './problem.ts'

/** Why a request is refused, before it is known how the response challenges the user. */
export type Refusal =
  /** The configuration of the ingress is wrong. The proxy makes an error 500 of the response. */
  | { readonly kind: 'problems'; readonly problems: readonly Problem[] }
  /** Nothing was presented, or only a cookie that is no longer valid. */
  | { readonly kind: 'unauthenticated' }
  /** The token expires too soon. */
  | { readonly kind: 'lifetime' }
  | { readonly kind: 'bearer'; readonly error: BearerError }
  /** A refusal for which RFC 6750 has no code. `shownStatus` is for the user, where it is not 403. */
  | { readonly kind: 'forbidden'; readonly detail: Detail; readonly shownStatus?: 404 }
  | { readonly kind: 'unavailable' }
  | { readonly kind: 'unexpected'; readonly requestId: string }

/** What the body says of an error. It has no text of the request in it. */
interface Detail {
  readonly msg: string
  readonly type: string
}

/** How a response challenges the user. */
export interface ChallengeFacts {
  readonly authType: AuthType
  readonly realm: string
  /** Whether a script makes the request: it is not sent to the log-in page, and so gets no 401. */
  readonly isAjax: boolean
}

/** The statuses by which a proxy refuses a request without an error of its own, by the code of the error. */
const BEARER_STATUS: Readonly<Record<BearerError['code'], { sent: 401 | 403; shown: 400 | 401 | 403 }>> = {
  invalid_request: { sent: 403, shown: 400 },
  invalid_token: { sent: 401, shown: 401 },
  insufficient_scope: { sent: 403, shown: 403 },
}

const NO_CREDENTIALS: Detail = { msg: 'Authentication required', type: 'no_authorization' }
const LIFETIME: BearerError = { code: 'invalid_token', description: 'Remaining token lifetime too short' }
const UNAVAILABLE: Detail = {
  msg: 'A storage service did not respond in time: please try again',
  type: 'unavailable',
}

/** Returns the response for a refusal. */
export function toResponse(refusal: Refusal, facts: ChallengeFacts): AuthResponse {
  switch (refusal.kind) {
    case 'problems':
      return respond(422, refusal.problems)
    case 'unauthenticated':
      return respond(facts.isAjax ? 403 : 401, NO_CREDENTIALS, challengeOf(facts))
    case 'lifetime':
      return respond(facts.isAjax ? 403 : 401, detailOf(LIFETIME), challengeOf(facts, LIFETIME))
    case 'bearer': {
      const { sent, shown } = BEARER_STATUS[refusal.error.code]
      return respondShown(sent, shown, detailOf(refusal.error), challengeOf(facts, refusal.error))
    }
    case 'forbidden':
      return respondShown(403, refusal.shownStatus ?? 403, refusal.detail)
    case 'unavailable':
      return respond(503, [UNAVAILABLE], ['Retry-After', '1'])
    case 'unexpected': {
      const msg = `Internal error: report it with its request id ${refusal.requestId}`
      return respond(500, [{ msg, type: 'internal_error' }])
    }
    default:
      return refusal satisfies never
  }
}

/** Returns how a refusal is counted. */
export function outcomeOf(refusal: Refusal): AuthOutcome {
  switch (refusal.kind) {
    case 'problems':
      return 'BAD_REQUEST'
    case 'unauthenticated':
      return 'UNAUTHENTICATED'
    case 'lifetime':
      return 'INSUFFICIENT_LIFETIME'
    case 'bearer':
      return BEARER_OUTCOME[refusal.error.code]
    case 'forbidden':
      return 'PERMISSION_DENIED'
    case 'unavailable':
      return 'UNAVAILABLE'
    case 'unexpected':
      return 'INTERNAL_SERVER_ERROR'
    default:
      return refusal satisfies never
  }
}

const BEARER_OUTCOME: Readonly<Record<BearerError['code'], AuthOutcome>> = {
  invalid_request: 'BAD_REQUEST',
  invalid_token: 'UNAUTHENTICATED',
  insufficient_scope: 'PERMISSION_DENIED',
}

const detailOf = ({ code, description }: BearerError): Detail => ({ msg: description, type: code })

const challengeOf = ({ authType, realm }: ChallengeFacts, error?: BearerError): readonly string[] => [
  'WWW-Authenticate',
  formatChallenge(authType, realm, error),
]

/** The proxy has only the status and the header fields of a response: what the user is to see is among them. */
function respondShown(
  status: number,
  shownStatus: number,
  detail: Detail,
  headers: readonly string[] = [],
): AuthResponse {
  const body = JSON.stringify({ detail: [detail] })
  return respond(status, [detail], [...headers, 'X-Error-Status', String(shownStatus), 'X-Error-Body', body])
}

const respond = (
  status: number,
  detail: Detail | readonly (Detail | Problem)[],
  headers: readonly string[] = [],
): AuthResponse => ({
  status,
  headers: [...['Cache-Control', 'no-cache, no-store'], ...['Content-Type', 'application/json'], ...headers],
  body: JSON.stringify({ detail }),
})
