import {
  type HolderRequirement,
  hasRequiredScopes,
  type PolicyDelegation,
} from '../../../domain/auth-policy.ts'
import { isServiceName } from '../../../domain/delegation.ts'
import { MIN_LIFETIME_SECONDS } from '../../../domain/lifetime.ts'
import { type Scopes, toScopes } from '../../../domain/scope.ts'
import type { AuthType } from './challenge.ts'
import { type Problem, queryProblem } from './problem.ts'
import { QueryReader } from './query-reader.ts'

/** How a user may authenticate, and how a request without credentials is challenged. */
export interface CredentialRules {
  readonly authType: AuthType
  readonly allowCookies: boolean
}

/** Who may pass, and what the protected service gets. */
export interface AccessRules extends HolderRequirement {
  readonly scopes: Scopes
  readonly satisfy: 'all' | 'any'
  /** Token that is delegated to the protected service. */
  readonly wanted: PolicyDelegation | undefined
  /** Lifetime that the user's token must still have, in seconds. */
  readonly minimumLifetime: number | undefined
  readonly useAuthorization: boolean
}

type Parsed<T> =
  | { readonly value: T; readonly problems?: undefined }
  | { readonly value?: undefined; readonly problems: readonly Problem[] }

/** A query of `/ingress/auth`. What is wrong with its parts is reported at different steps. */
export interface IngressQuery {
  readonly credentials: Parsed<CredentialRules>
  readonly access: Parsed<AccessRules>
  /** Two valid parameters that contradict each other. */
  readonly conflict: Problem | undefined
  /** Parameters for what Porthor does not do: a request that needs it must not pass without it. */
  readonly unsupported: readonly Problem[]
}

const parsed = <T>(value: T, { problems }: QueryReader): Parsed<T> =>
  problems.length > 0 ? { problems } : { value }

/** @param query What follows the question mark in the request target. */
export function parseIngressQuery(query: string): IngressQuery {
  const parameters = new URLSearchParams(query)
  const reader = new QueryReader(parameters)
  const delegation = readDelegation(reader)
  const access = parseAccessRules(reader, delegation)
  return {
    credentials: parseCredentialRules(new QueryReader(parameters)),
    access,
    conflict: access.value && findConflict(delegation),
    unsupported: findUnsupported(new QueryReader(parameters)),
  }
}

const parseCredentialRules = (reader: QueryReader): Parsed<CredentialRules> =>
  parsed(
    {
      allowCookies: reader.boolean('allow_cookies', true),
      authType: reader.choice('auth_type', ['basic', 'bearer'], 'bearer'),
    },
    reader,
  )

/** Parameters on delegation, before it is known whether they contradict each other. */
interface DelegationParameters {
  readonly notebook: boolean
  readonly delegateTo: string | undefined
  readonly scopes: readonly string[]
  /** Name of the protected service. */
  readonly service: string | undefined
}

const readDelegation = (reader: QueryReader): DelegationParameters => ({
  notebook: reader.boolean('notebook', false),
  delegateTo: reader.nonEmptyText('delegate_to'),
  scopes: reader.list('delegate_scope'),
  service: reader.nonEmptyText('service'),
})

function findConflict({ notebook, delegateTo, service }: DelegationParameters): Problem | undefined {
  if (delegateTo === undefined) return undefined
  if (notebook) {
    return queryProblem(
      'delegate_to',
      'invalid_delegate_to',
      'delegate_to cannot be set for notebook tokens: leave out one of them',
    )
  }
  return service === undefined || service === delegateTo
    ? undefined
    : queryProblem('service', 'invalid_service', 'service must be the same as delegate_to')
}

function parseAccessRules(reader: QueryReader, delegation: DelegationParameters): Parsed<AccessRules> {
  const onlyServices = reader.list('only_service')
  const minimumLifetime = reader.seconds('minimum_lifetime', { minimum: MIN_LIFETIME_SECONDS })
  const wanted = toWantedToken(delegation)
  return parsed(
    {
      scopes: toScopes(reader.list('scope')),
      satisfy: reader.choice('satisfy', ['all', 'any'], 'all'),
      onlyServices: onlyServices.length > 0 ? onlyServices : undefined,
      username: reader.nonEmptyText('username'),
      wanted,
      // Without it, a delegated token is reused until this long before its expiry, and not for half of its lifetime.
      minimumLifetime: minimumLifetime ?? (wanted && MIN_LIFETIME_SECONDS),
      useAuthorization: reader.boolean('use_authorization', false),
    },
    reader,
  )
}

function toWantedToken({ notebook, delegateTo, scopes }: DelegationParameters): PolicyDelegation | undefined {
  if (notebook) return { type: 'notebook' }
  return delegateTo === undefined
    ? undefined
    : { type: 'internal', service: delegateTo, scopes: toScopes(scopes) }
}

function findUnsupported(reader: QueryReader): readonly Problem[] {
  if (reader.text('user_domain') !== undefined) {
    reader.problems.push(
      queryProblem(
        'user_domain',
        'not_supported',
        'user_domain is not supported: restrict the ingress with username, or leave it with Gafaelfawr',
      ),
    )
  }
  if (reader.boolean('allow_options', false)) {
    reader.problems.push(
      queryProblem(
        'allow_options',
        'not_supported',
        'allow_options is not supported: let the proxy respond to OPTIONS, or leave the ingress with Gafaelfawr',
      ),
    )
  }
  return reader.problems
}

/** Returns what is wrong with a service for which a token is to be delegated. */
export function findServiceProblem(
  wanted: PolicyDelegation | undefined,
  isListed: (service: string) => boolean,
): Problem | undefined {
  if (wanted?.type !== 'internal') return undefined
  const { service } = wanted
  if (!isServiceName(service)) {
    return queryProblem(
      'delegate_to',
      'invalid_service',
      'delegate_to must be 1 to 64 characters of A-Z a-z 0-9 . _ - and must not contain a token',
    )
  }
  return isListed(service)
    ? undefined
    : queryProblem(
        'delegate_to',
        'invalid_service',
        `No token may be issued for the service "${service}": the operator must list it in DELEGATION_SERVICES`,
      )
}

/** Whether a token with the scopes `held` may pass. `any` of no scopes is never held, `all` of none always is. */
export const satisfies = (held: Scopes, { scopes, satisfy }: AccessRules): boolean =>
  hasRequiredScopes({ require: scopes, satisfy }, held)
