import { type Actor, isDelegated } from './actor.ts'
import type { DelegationRequest } from './delegation.ts'
import { PorthorError, SUBJECT_HEADER, type TokenRole } from './errors.ts'
import { DELEGATE_SCOPE } from './scope.ts'
import { isDelegatedType, type TokenData } from './token.ts'

/** Stands for notebook tokens in the services of a gateway. */
export const NOTEBOOK = 'notebook'

/** Services for which each gateway may delegate, by the username of the gateway; `NOTEBOOK` allows notebook tokens. */
export type GatewayServices = ReadonlyMap<string, ReadonlySet<string>>

/**
 * Who may delegate (rule 15): with `self`, the holder of any token, from that token; with `gateway`, only gateways, from the
 * tokens of their users.
 */
export type DelegationRights =
  | { readonly mode: 'self' }
  | {
      readonly mode: 'gateway'
      /** `undefined` where every gateway may delegate for every service and notebook. */
      readonly gateways: GatewayServices | undefined
      /** Whether a gateway may delegate from a token that is delegated itself. */
      readonly chains: boolean
    }

/** A gateway with a token of its own: a service token that holds `delegate:token`. */
export interface Gateway {
  readonly kind: 'gateway'
  readonly data: TokenData
}

/**
 * Who delegates from a token: its holder (`self`); a gateway; or Porthor's own interface for gateways, which the operator
 * configures, and which therefore needs no token (`forward-auth`).
 */
export type Delegator = { readonly kind: 'self' } | Gateway | { readonly kind: 'forward-auth' }

export const SELF: Delegator = { kind: 'self' }

export const FORWARD_AUTH: Delegator = { kind: 'forward-auth' }

/** Username that is the actor of the delegation in history and log: that of the gateway, and else that of the parent. */
export const delegatorName = (by: Delegator, parent: TokenData): string =>
  by.kind === 'gateway' ? by.data.username : parent.username

/** Which token the errors about the parent mean: the one that the holder presented, or the one that a gateway named. */
export const parentRole = (by: Delegator): TokenRole => (by.kind === 'gateway' ? 'subject' : 'current')

/** @throws {PorthorError} `PERMISSION_DENIED` where only holders of tokens delegate. */
export function requireGatewayMode({ mode }: DelegationRights): void {
  if (mode === 'gateway') return
  throw new PorthorError(
    'PERMISSION_DENIED',
    `Here every token is delegated by its holder, not by a gateway (DELEGATION=self): leave out ${SUBJECT_HEADER}, and send the token to delegate from as the current token.`,
  )
}

/**
 * Returns the actor as a gateway. To be called before the token of the user is looked at.
 *
 * @throws {PorthorError} `PERMISSION_DENIED` where the actor is not a gateway, or only holders of tokens delegate.
 */
export function requireGateway(actor: Actor, rights: DelegationRights): Gateway {
  requireGatewayMode(rights)
  // What a delegated token creates is no gateway: it would obtain tokens that are not revoked with that token.
  if (actor.kind === 'token' && actor.data.type === 'service' && !isDelegated(actor)) {
    if (actor.data.scopes.includes(DELEGATE_SCOPE)) return { kind: 'gateway', data: actor.data }
  }
  throw notGateway()
}

const notGateway = (): PorthorError =>
  new PorthorError(
    'PERMISSION_DENIED',
    `Only gateways delegate here (DELEGATION=gateway): the current token must be a service token with the scope ${DELEGATE_SCOPE}, and ${SUBJECT_HEADER} must have the token of the user.`,
    { facts: { sufficientScopes: [DELEGATE_SCOPE] } },
  )

/** @throws {PorthorError} `PERMISSION_DENIED` where `by` may not delegate, or not from this parent. */
export function requireMayDelegate(by: Delegator, parent: TokenData, rights: DelegationRights): void {
  if (by.kind === 'gateway') {
    requireGateway({ kind: 'token', data: by.data }, rights)
  } else if (by.kind === 'self' && rights.mode === 'gateway') {
    throw notGateway()
  }
  requireChain(isDelegatedType(parent), rights)
}

/** @throws {PorthorError} `PERMISSION_DENIED` where a gateway may not delegate for the service, naming both. */
export function requireGatewayService(
  by: Delegator,
  request: DelegationRequest,
  rights: DelegationRights,
): void {
  if (by.kind !== 'gateway' || rights.mode === 'self' || rights.gateways === undefined) return
  const { username } = by.data
  const service = request.type === 'internal' ? request.service : NOTEBOOK
  // The name stands for notebook tokens: a service of this name would be given what only notebooks are.
  const isAmbiguous = request.type === 'internal' && service === NOTEBOOK
  if (!isAmbiguous && rights.gateways.get(username)?.has(service)) return
  throw new PorthorError(
    'PERMISSION_DENIED',
    request.type === 'internal'
      ? `The gateway ${username} may not delegate for the service "${service}": ${isAmbiguous ? 'the name stands for notebook tokens in DELEGATION_GATEWAYS' : 'the operator must list it in DELEGATION_GATEWAYS'}.`
      : `The gateway ${username} may not delegate notebook tokens: the operator must list "${NOTEBOOK}" for it in DELEGATION_GATEWAYS.`,
    { facts: { service } },
  )
}

/**
 * @param isParentDelegated Whether the parent is a delegated token, or a delegated token has created it.
 * @throws {PorthorError} `PERMISSION_DENIED` where gateways may not delegate from such a token.
 */
export function requireChain(isParentDelegated: boolean, rights: DelegationRights): void {
  if (!isParentDelegated || rights.mode === 'self' || rights.chains) return
  throw new PorthorError(
    'PERMISSION_DENIED',
    'A delegated token is not delegated further here: name a session, user or service token, or let the operator set DELEGATION_CHAINS=true.',
  )
}
