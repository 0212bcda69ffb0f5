import { MAX_LISTED, PorthorError } from './errors.ts'
import { intersect, isWithin, quoteAll, type Scopes } from './scope.ts'

/**
 * The most scopes that each service may be given, by the name of the service (rule 16). A service that is not listed is
 * given no token. Where there is no such list, every service may be given every scope that may be delegated.
 */
export type ServiceScopes = ReadonlyMap<string, Scopes>

const NO_SCOPES: Scopes = []

/** Whether a token may be issued for the service at all. */
export const isListed = (service: string, services: ServiceScopes | undefined): boolean =>
  services === undefined || services.has(service)

/**
 * @param service A valid name of a service: the message quotes it.
 * @throws {PorthorError} `PERMISSION_DENIED`, naming the service.
 */
export function requireListed(service: string, services: ServiceScopes | undefined): void {
  if (isListed(service, services)) return
  throw new PorthorError(
    'PERMISSION_DENIED',
    `No token may be issued for the service "${service}": the operator must list it in DELEGATION_SERVICES.`,
    { facts: { service } },
  )
}

/** @throws {PorthorError} `INVALID_SCOPES`, naming each scope that the service may not be given. */
export function requireWithinService(
  scopes: Scopes,
  service: string,
  services: ServiceScopes | undefined,
): void {
  const permittedScopes = services?.get(service)
  if (permittedScopes === undefined || isWithin(scopes, permittedScopes)) return
  const excessScopes = scopes.filter((scope) => !permittedScopes.includes(scope))
  throw new PorthorError(
    'INVALID_SCOPES',
    `The service "${service}" may not be given these scopes: ${quoteAll(excessScopes)}. It may be given: ${permittedScopes.join(', ') || 'no scopes'}.`,
    { facts: { service, excessScopes: excessScopes.slice(0, MAX_LISTED), permittedScopes } },
  )
}

/** Returns the scopes that the service may be given: leaves the others out. */
export const withinService = (
  scopes: Scopes,
  service: string,
  services: ServiceScopes | undefined,
): Scopes => (services === undefined ? scopes : intersect(scopes, listedScopes(service, services)))

/** Returns the scopes that are listed for the service; none where it is not listed, or there is no list. */
export const listedScopes = (service: string, services: ServiceScopes | undefined): Scopes =>
  services?.get(service) ?? NO_SCOPES
