import { z } from 'zod'
import { isServiceName } from '../domain/delegation.ts'
import { type GatewayServices, NOTEBOOK } from '../domain/gateway.ts'
import { type KnownScopes, toScopes } from '../domain/scope.ts'
import { isListed, type ServiceScopes } from '../domain/service-scopes.ts'
import { isBotUsername } from '../domain/user.ts'
import { type Kind, parsed } from './kinds.ts'

/** A JSON object of the scopes that each service may be given. */
export const serviceScopes = (): Kind<ServiceScopes> =>
  listsByName('JSON object of services and arrays of scopes', isServiceName, () => true, toScopes)

/** A JSON object of the services for which each gateway may delegate. */
export const gatewayServices = (): Kind<GatewayServices> =>
  listsByName(
    'JSON object of bot usernames and arrays of services',
    isBotUsername,
    isServiceName,
    (services) => new Set(services),
  )

/** A JSON object of names, and an array of names for each. */
const listsByName = <T>(
  values: string,
  isName: (name: string) => boolean,
  isItem: (item: string) => boolean,
  toList: (items: readonly string[]) => T,
): Kind<ReadonlyMap<string, T>> => {
  const schema = z.record(z.string(), z.array(z.string().refine(isItem)))
  return parsed(values, (json) => {
    const invalid = (reason: string) => new Error(`must be a ${values}: ${reason}`)
    let table: unknown
    try {
      table = JSON.parse(json)
    } catch {
      throw invalid('it is not JSON')
    }
    const { data, error } = schema.safeParse(table)
    const names = Object.keys(table ?? {})
    if (error) {
      const [name, item] = error.issues[0]?.path ?? []
      if (name === undefined) throw invalid('it is not an object')
      throw invalid(describeEntry(names.indexOf(String(name)), item))
    }
    const place = names.findIndex((name) => !isName(name))
    if (place >= 0) throw invalid(describeEntry(place))
    return new Map(Object.entries(data).map(([name, items]) => [name, toList(items)]))
  })
}

/** Names a place and not its text: any text may be a misplaced secret. Places count from 1. */
const describeEntry = (entry: number, item?: PropertyKey): string =>
  typeof item === 'number'
    ? `item ${item + 1} of entry ${entry + 1} is not valid`
    : `entry ${entry + 1} is not valid`

/**
 * Returns what is wrong with the scopes of `DELEGATION_SERVICES`.
 *
 * @param undelegable Scopes that are never delegated; empty where they are not valid.
 */
export function findScopeNeverGiven(
  services: ServiceScopes,
  known: KnownScopes,
  undelegable: ReadonlySet<string>,
): string | undefined {
  for (const [entry, scopes] of [...services.values()].entries()) {
    if (scopes.some((scope) => !known.has(scope))) {
      return `must have scopes of KNOWN_SCOPES: entry ${entry + 1} has one that is not known`
    }
    if (scopes.some((scope) => undelegable.has(scope))) {
      return `must have scopes that may be delegated: entry ${entry + 1} has one of UNDELEGABLE_SCOPES`
    }
  }
  return undefined
}

/** Returns what is wrong with the services of `DELEGATION_GATEWAYS`. */
export function findUnlistedService(
  gateways: GatewayServices,
  services: ServiceScopes | undefined,
): string | undefined {
  const isGranted = (service: string) => service === NOTEBOOK || isListed(service, services)
  const place = [...gateways.values()].findIndex((granted) => ![...granted].every(isGranted))
  if (place < 0) return undefined
  return `must have services of DELEGATION_SERVICES, or "${NOTEBOOK}": entry ${place + 1} has another one`
}
