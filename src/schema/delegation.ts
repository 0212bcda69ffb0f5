import { requireTokenData } from '../domain/actor.ts'
import { type Delegator, SELF } from '../domain/gateway.ts'
import { formatToken, serviceOf, type TokenData } from '../domain/token.ts'
import type { DelegatedToken as Delegated } from '../services/delegation/token-cache-service.ts'
import { builder } from './builder.ts'
import type { RequestContext } from './request-context.ts'
import { DateTime } from './scalars.ts'
import { TokenType } from './token-type.ts'

const DelegationSource = builder.enumType('DelegationSource', {
  description: 'Source of a delegated token.',
  values: {
    CACHE: {
      value: 'cache',
      description: 'Reused from the memory of the process; the token store confirmed it.',
    },
    DATABASE: { value: 'database', description: 'Reused: a live token was found in the database.' },
    NEW: { value: 'new', description: 'Issued for this request.' },
  } as const,
})

const DelegatedToken = builder.objectRef<Delegated>('DelegatedToken').implement({
  description:
    'A token that was issued from the current token, or from the one that a gateway named, on behalf of its user. It expires no later than its parent and is revoked with it.',
  fields: (t) => ({
    token: t.string({
      description: 'Bearer string of the token, for the service or notebook only.',
      resolve: ({ data }) => formatToken(data.token),
    }),
    key: t.id({
      description: 'Token key: the public half of the token.',
      resolve: ({ data }) => data.token.key,
    }),
    type: t.field({
      type: TokenType,
      description: 'Type of the token: INTERNAL or NOTEBOOK.',
      resolve: ({ data }) => data.type,
    }),
    username: t.string({
      description: 'Username of the user on whose behalf the token acts.',
      resolve: ({ data }) => data.username,
    }),
    service: t.string({
      nullable: true,
      description: 'Service that the token is for; null for a notebook token.',
      resolve: ({ data }) => serviceOf(data),
    }),
    scopes: t.stringList({
      description: 'Scopes of the token, sorted.',
      resolve: ({ data }) => [...data.scopes],
    }),
    createdAt: t.field({
      type: DateTime,
      description: 'Time at which the token was issued.',
      resolve: ({ data }) => data.createdAt,
    }),
    expiresAt: t.field({
      type: DateTime,
      description: 'Time at which the token expires.',
      resolve: ({ data }) => data.expiresAt,
    }),
    source: t.field({
      type: DelegationSource,
      description: 'Whether the token was reused from memory, found in the database, or issued.',
      resolve: ({ source }) => source,
    }),
  }),
})

/** Returns the token to delegate from, and who delegates: a gateway where the request names a subject, else its holder. */
const parentOf = async (
  ctx: RequestContext,
): Promise<{ readonly parent: TokenData; readonly by: Delegator }> =>
  ctx.subject ? ctx.subject() : { parent: requireTokenData(await ctx.actor()), by: SELF }

const MINIMUM_LIFETIME =
  'Shortest remaining lifetime that is accepted, in seconds: 300 to the delegated lifetime minus 300. Default: half of the lifetime of the token.'

builder.mutationField('internalToken', (t) =>
  t.field({
    type: DelegatedToken,
    description:
      'Delegates the current token to one service. Returns the live internal token if there is one, else issues a new one. A gateway delegates the token in the header X-Porthor-Subject-Token instead.',
    args: {
      service: t.arg.string({
        required: true,
        description: 'Name of the service: 1 to 64 of A-Z a-z 0-9 . _ -',
      }),
      scopes: t.arg.stringList({
        required: true,
        defaultValue: [],
        description:
          'Scopes of the token: known scopes that the token to delegate from holds, and that the service may be given.',
      }),
      minimumLifetime: t.arg.int({ description: MINIMUM_LIFETIME }),
    },
    resolve: async (_root, { service, scopes, minimumLifetime }, ctx) => {
      const { parent, by } = await parentOf(ctx)
      const options = { minimumLifetime: minimumLifetime ?? undefined, by }
      return traced(
        ctx,
        await ctx.services.tokenCache.getInternalToken(parent, service, scopes, ctx.ipAddress, options),
      )
    },
  }),
)

builder.mutationField('notebookToken', (t) =>
  t.field({
    type: DelegatedToken,
    description:
      "Delegates the current token to the user's notebook, with all scopes that may be delegated. Returns the live notebook token if there is one, else issues a new one. A gateway delegates the token in the header X-Porthor-Subject-Token instead.",
    args: { minimumLifetime: t.arg.int({ description: MINIMUM_LIFETIME }) },
    resolve: async (_root, { minimumLifetime }, ctx) => {
      const { parent, by } = await parentOf(ctx)
      const options = { minimumLifetime: minimumLifetime ?? undefined, by }
      return traced(ctx, await ctx.services.tokenCache.getNotebookToken(parent, ctx.ipAddress, options))
    },
  }),
)

/** Records the source of the token for the request's log line. */
function traced({ trace }: RequestContext, token: Delegated): Delegated {
  trace.source = token.source
  return token
}
