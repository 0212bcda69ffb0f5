import type { Server } from 'node:http'
import type { App } from '../../app.ts'
import type { Config } from '../../config/config.ts'
import type { AuthPolicy } from '../../domain/auth-policy.ts'
import type { RequestHandler } from '../connections.ts'
import { createGuardedServer, type ServerLimits, serverLimits } from '../guarded-server.ts'
import type { Metrics } from '../metrics.ts'
import { findTargetProblem, pathOf } from '../request-head.ts'
import { refuse, writeAuthResponse } from './auth-response.ts'
import { IngressEndpoint, type IngressOptions } from './ingress/ingress-endpoint.ts'
import { AuthMetrics } from './metrics.ts'
import type { SessionCookie } from './policy-credential.ts'
import { PolicyEndpoint } from './policy-endpoint.ts'

/** Maximum size of the target and the header fields of a request, in bytes: a gateway adds to what its client sent. */
const MAX_HEADER_SIZE = 64 * 1024

export interface AuthServerOptions {
  /** By name. */
  readonly policies: ReadonlyMap<string, AuthPolicy>
  /** `undefined`: no cookie counts. */
  readonly cookie: SessionCookie | undefined
  /** Of challenges. */
  readonly realm: string
  /** `undefined`: there is no endpoint of Gafaelfawr. */
  readonly ingress: IngressOptions | undefined
}

/** Returns what the server has to be for the settings; `undefined` where it is off. */
export function authServerOptions(config: Config): AuthServerOptions | undefined {
  if (!config.forwardAuth) return undefined
  const { encryption, forwardAuth } = config
  const { policies, sessionCookie, hasIngress } = forwardAuth
  const realm = realmOf(config)
  return {
    policies,
    realm,
    cookie: sessionCookie === undefined ? undefined : { name: sessionCookie, encryption },
    ingress: hasIngress ? { realm, encryption, sessionCookie } : undefined,
  }
}

/** Returns the realm of challenges. */
const realmOf = ({ publicUrl }: Config): string => (publicUrl ? new URL(publicUrl).hostname : 'porthor')

/** Creates the HTTP server for gateways. It does not listen yet. */
export function createAuthServer(
  app: App,
  metrics: Metrics,
  options: AuthServerOptions,
  given: Partial<ServerLimits> = {},
): Server {
  const authMetrics = new AuthMetrics(metrics.registry)
  const policies = new PolicyEndpoint(app, authMetrics, options)
  const endpoints = endpointsOf(app, authMetrics, options)
  const limits = serverLimits({ maxHeaderSize: MAX_HEADER_SIZE, ...given })
  return createGuardedServer(limits, (request, response) => {
    const message = findTargetProblem(request)
    if (message !== undefined) {
      writeAuthResponse(request, response, refuse({ status: 400, message }, []))
      return
    }
    const handle = endpoints.get(pathOf(request))
    if (handle) handle(request, response)
    else policies.handle(request, response)
  })
}

/** Returns the endpoints without a policy, by their paths. */
function endpointsOf(
  app: App,
  metrics: AuthMetrics,
  { ingress }: AuthServerOptions,
): ReadonlyMap<string | undefined, RequestHandler> {
  if (!ingress) return new Map()
  const endpoint = new IngressEndpoint(app, metrics, ingress)
  return new Map<string | undefined, RequestHandler>([
    ['/ingress/auth', (request, response) => endpoint.handleAuth(request, response)],
    ['/ingress/anonymous', (request, response) => endpoint.handleAnonymous(request, response)],
  ])
}
