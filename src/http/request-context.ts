import { randomUUID } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { App } from '../app.ts'
import { type Actor, actorName } from '../domain/actor.ts'
import { UnauthenticatedError } from '../domain/errors.ts'
import { lazy } from '../lib/lazy.ts'
import type { RequestContext, RequestTrace } from '../schema/request-context.ts'
import type { SubjectOfGateway } from '../services/delegation/subject-authenticator.ts'
import { parseBearer } from './bearer.ts'
import type { RefusalLog } from './refusal-log.ts'
import { subjectHeaderOf } from './request-head.ts'

type AddressOf = (request: IncomingMessage) => string | undefined

export type CreateContext = (request: IncomingMessage) => RequestContext

/**
 * Returns a function that creates the context of a request. The token is authenticated when the actor is first needed, and
 * only once.
 */
export function requestContexts(
  { prisma, services }: App,
  addressOf: AddressOf,
  refusals: RefusalLog,
): CreateContext {
  return (request) => {
    const { authorization } = request.headers
    const trace: RequestTrace = { requestId: randomUUID() }
    const ipAddress = addressOf(request) ?? null
    const actor = lazy(async (): Promise<Actor> => {
      const bearer = parseBearer(authorization)
      try {
        const found = await services.limitedAuthenticator.authenticate(bearer, ipAddress)
        trace.username = actorName(found)
        trace.tokenKey = found.kind === 'token' ? found.data.token.key : trace.username
        return found
      } catch (error) {
        services.limitedAuthenticator.countFailure(error, ipAddress)
        refusals.token(error, bearer, ipAddress)
        throw error
      }
    })
    const subjectHeader = subjectHeaderOf(request)
    const subject =
      subjectHeader === undefined
        ? undefined
        : lazy(async (): Promise<SubjectOfGateway> => {
            const bearer = parseBearer(subjectHeader) ?? ''
            try {
              const found = await services.subjects.authenticate(await actor(), bearer)
              trace.subjectUsername = found.parent.username
              trace.subjectKey = found.parent.token.key
              return found
            } catch (error) {
              if (error instanceof UnauthenticatedError && error.role === 'subject') {
                refusals.token(error, bearer, ipAddress)
              }
              throw error
            }
          })
    const view = lazy(async () => services.queries.createView(await actor()))
    return { prisma, services, ipAddress, trace, actor, subject, view }
  }
}
