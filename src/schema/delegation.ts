import { requireTokenData } from '../domain/actor.ts'
import { formatToken, serviceOf } from '../domain/token.ts'
import type { DelegatedToken as Delegated } from '../services/token-cache-service.ts'
import { builder } from './builder.ts'
import type { RequestContext } from './context.ts'
import { DateTime } from './scalars.ts'
import { TokenType } from './token-type.ts'

const DelegationSource = builder.enumType('DelegationSource', {
  description: 'Where a delegated token came from.',
  values: {
    CACHE: { value: 'cache', description: "This process's memory; the token store has confirmed it." },
    DATABASE: { value: 'database', description: 'A live token that was found on record.' },
    NEW: { value: 'new', description: 'It was made for this request.' },
  } as const,
})

const DelegatedToken = builder.objectRef<Delegated>('DelegatedToken').implement({
  description: 'A token lent by the acting token, ending no later than it and revoked with it.',
  fields: (t) => ({
    token: t.string({
      description: 'The bearer string, for the service or notebook it was asked for.',
      resolve: ({ data }) => formatToken(data.token),
    }),
    key: t.id({ description: 'Public half of the token.', resolve: ({ data }) => data.token.key }),
    type: t.field({
      type: TokenType,
      description: 'INTERNAL or NOTEBOOK.',
      resolve: ({ data }) => data.type,
    }),
    username: t.string({ description: 'Whose rights it carries.', resolve: ({ data }) => data.username }),
    service: t.string({
      nullable: true,
      description: 'The service it is lent to; null for a notebook token.',
      resolve: ({ data }) => serviceOf(data),
    }),
    scopes: t.stringList({ description: 'What it allows, sorted.', resolve: ({ data }) => [...data.scopes] }),
    createdAt: t.field({
      type: DateTime,
      description: 'When it was made.',
      resolve: ({ data }) => data.createdAt,
    }),
    expiresAt: t.field({
      type: DateTime,
      description: 'When it ends.',
      resolve: ({ data }) => data.expiresAt,
    }),
    source: t.field({
      type: DelegationSource,
      description: 'Where the answer came from.',
      resolve: ({ source }) => source,
    }),
  }),
})

const MINIMUM_LIFETIME =
  'Least remaining life that is accepted, in seconds: 300 to the delegated lifetime less 300. Without it, half of the whole life of the token.'

builder.mutationField('internalToken', (t) =>
  t.field({
    type: DelegatedToken,
    description:
      'A token for one service, made from the acting token: the live one where there is one, else a new one.',
    args: {
      service: t.arg.string({ required: true, description: 'The service: 1 to 64 of A-Z a-z 0-9 . _ -' }),
      scopes: t.arg.stringList({
        required: true,
        defaultValue: [],
        description:
          'Scopes of the token: known ones that the current token holds, and that may be delegated.',
      }),
      minimumLifetime: t.arg.int({ description: MINIMUM_LIFETIME }),
    },
    resolve: async (_root, { service, scopes, minimumLifetime }, ctx) => {
      const parent = requireTokenData(await ctx.actor())
      const options = { minimumLifetime: minimumLifetime ?? undefined }
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
      "A token for the user's notebook, with all scopes of the current token that may be delegated.",
    args: { minimumLifetime: t.arg.int({ description: MINIMUM_LIFETIME }) },
    resolve: async (_root, { minimumLifetime }, ctx) => {
      const parent = requireTokenData(await ctx.actor())
      const options = { minimumLifetime: minimumLifetime ?? undefined }
      return traced(ctx, await ctx.services.tokenCache.getNotebookToken(parent, ctx.ipAddress, options))
    },
  }),
)

/** Notes for the request's log line where the answer came from. */
function traced({ trace }: RequestContext, answer: Delegated): Delegated {
  trace.source = answer.source
  return answer
}
