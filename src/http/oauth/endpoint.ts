import type { IncomingMessage } from 'node:http'
import { type Actor, actorName } from '../../domain/actor.ts'
import type { DelegationSource } from '../../services/delegation/token-cache-service.ts'
import type { ClientCredentials } from './client-credentials.ts'
import type { Form } from './form.ts'
import { OAuthError } from './oauth-error.ts'

/** Facts of a request that are collected while it is handled, for its log line. */
export interface OAuthTrace {
  readonly requestId: string
  /** Who acts: the authenticated client, or else the holder of the token that was sent. */
  username?: string
  tokenKey?: string
  /** Key and user of the token that a gateway exchanges. */
  subjectKey?: string
  subjectUsername?: string
  source?: DelegationSource
}

/** What is known of a request before it is read. */
export interface OAuthCall {
  /** Address of the client; `null` when it is unknown. */
  readonly ipAddress: string | null
  /** URL of this authorization server; `undefined` if it has none. */
  readonly issuer: string | undefined
  readonly trace: OAuthTrace
}

/** A client that has authenticated, and how. */
export interface AuthenticatedClient {
  readonly actor: Actor
  readonly scheme: ClientCredentials['scheme']
}

/** A request with a form. */
export interface OAuthRequest extends OAuthCall {
  readonly form: Form
  /** The client; `undefined` if it did not authenticate. */
  readonly client: AuthenticatedClient | undefined
}

/** A response with status 200. */
export interface OAuthResult {
  readonly headers?: Readonly<Record<string, string>>
  /** Without it the body is empty. */
  readonly body?: object
}

/** An endpoint that takes a form. */
export interface OAuthEndpoint {
  /** Whether the client must authenticate, may, or its credentials are not looked at. */
  readonly client: 'required' | 'optional' | 'ignored'
  /** @throws {OAuthError | PorthorError} */
  readonly respond: (request: OAuthRequest) => Promise<OAuthResult>
}

/** Records who acts, for the log line. */
export function traceActor(trace: OAuthTrace, actor: Actor): void {
  trace.username = actorName(actor)
  trace.tokenKey = actor.kind === 'token' ? actor.data.token.key : trace.username
}

/** @throws {OAuthError} With status 405 for another method. */
export function requireMethod({ method = '' }: IncomingMessage, methods: readonly string[]): void {
  if (methods.includes(method)) return
  throw new OAuthError('invalid_request', `The method is not supported: use ${methods[0]}.`, {
    status: 405,
    headers: { Allow: methods.join(', ') },
  })
}
