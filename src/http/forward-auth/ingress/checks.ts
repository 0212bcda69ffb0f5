import { isForHolder } from '../../../domain/auth-policy.ts'
import { MIN_LIFETIME_SECONDS, secondsUntil } from '../../../domain/lifetime.ts'
import type { TokenData } from '../../../domain/token.ts'
import {
  type AccessRules,
  type CredentialRules,
  findServiceProblem,
  type IngressQuery,
  satisfies,
} from './ingress-query.ts'
import { missingHeader, type Problem, queryProblem } from './problem.ts'
import type { Refusal } from './refusal.ts'

/**
 * The checks of `/ingress/auth`, in the order of Gafaelfawr. It checks what two of its parts take from the request one
 * part after the other: the access rules, and the credentials. A part with a bad value is not run, and what is bad is
 * reported only when no other part has refused the request. So a bad access rule is reported after authentication.
 */

/** What header fields say of the user's own request. They decide nothing else. */
export interface OriginalRequest {
  /** `undefined` where the field is missing. */
  readonly method: string | undefined
  readonly hasUrl: boolean
}

/** How the credentials of a request are to be read, or why it is refused whatever they are. */
type Unseen =
  | { readonly rules: CredentialRules; readonly refusal?: undefined }
  | { readonly rules?: undefined; readonly refusal: Refusal }

/** Makes the checks before authentication. */
export function checkUnseen(query: IngressQuery, original: OriginalRequest): Unseen {
  if (query.conflict && original.hasUrl) return refuseProblems([query.conflict])
  const rules = query.credentials.value
  if (!rules || original.method === undefined) return refuseProblems(allProblems(query, original))
  if (query.unsupported.length > 0) return refuseProblems(query.unsupported)
  return original.method === 'OPTIONS' ? { refusal: OPTIONS_REFUSED } : { rules }
}

/**
 * A browser asks by `OPTIONS`, without credentials, whether a page of another site may send a request. The service must not
 * be reached so.
 */
const OPTIONS_REFUSED: Refusal = {
  kind: 'forbidden',
  detail: { msg: 'OPTIONS requests are not supported', type: 'not_found' },
  shownStatus: 404,
}

/** Returns the problems of a request whose credentials are valid. */
export function findLateProblems(
  query: IngressQuery,
  original: OriginalRequest,
  isListed: (service: string) => boolean,
): readonly Problem[] {
  const problems = allProblems(query, original)
  if (problems.length > 0) return problems
  const problem = findServiceProblem(query.access.value?.wanted, isListed)
  return problem ? [problem] : []
}

const allProblems = (
  { access, credentials }: IngressQuery,
  { method, hasUrl }: OriginalRequest,
): readonly Problem[] => [
  ...(hasUrl ? [] : [missingHeader('x-original-url')]),
  ...(access.problems ?? []),
  ...(credentials.problems ?? []),
  ...(method === undefined ? [missingHeader('x-original-method')] : []),
]

/** Lifetimes of new tokens, in seconds. */
export interface Lifetimes {
  readonly token: number
  readonly delegatedToken: number
}

/** Returns why the holder of a valid token may not pass. */
export function refuseHolder(
  rules: AccessRules,
  data: TokenData,
  lifetimes: Lifetimes,
  now: Date,
): Refusal | undefined {
  return (
    refuseLifetime(rules, data, lifetimes, now) ?? refuseScopes(rules, data) ?? refuseIdentity(rules, data)
  )
}

function refuseLifetime(
  { minimumLifetime, wanted }: AccessRules,
  data: TokenData,
  lifetimes: Lifetimes,
  now: Date,
): Refusal | undefined {
  if (minimumLifetime === undefined) return undefined
  // A user who logs in again must be able to meet it for a while.
  const maximum = (wanted ? lifetimes.delegatedToken : lifetimes.token) - MIN_LIFETIME_SECONDS
  if (minimumLifetime > maximum) {
    const msg = `Requested lifetime ${minimumLifetime}s longer than maximum lifetime ${maximum}s`
    return {
      kind: 'problems',
      problems: [queryProblem('minimum_lifetime', 'invalid_minimum_lifetime', msg)],
    }
  }
  return secondsUntil(data.expiresAt, now) < minimumLifetime ? { kind: 'lifetime' } : undefined
}

const refuseScopes = (rules: AccessRules, data: TokenData): Refusal | undefined =>
  satisfies(data.scopes, rules)
    ? undefined
    : {
        kind: 'bearer',
        error: {
          code: 'insufficient_scope',
          description: 'Token missing required scope',
          scopes: rules.scopes,
        },
      }

/** RFC 6750 has no better code for a user or service that may not come. */
const WRONG_IDENTITY: Refusal = {
  kind: 'bearer',
  error: { code: 'insufficient_scope', description: 'Access not allowed for this user' },
}

const refuseIdentity = (rules: AccessRules, data: TokenData): Refusal | undefined =>
  isForHolder(rules, data) ? undefined : WRONG_IDENTITY

const refuseProblems = (problems: readonly Problem[]): { readonly refusal: Refusal } => ({
  refusal: { kind: 'problems', problems },
})
