import { requireAdmin } from '../domain/actor.ts'
import { builder } from './builder.ts'

const ClearTokenCachePayload = builder
  .objectRef<{ readonly internal: number; readonly notebook: number }>('ClearTokenCachePayload')
  .implement({
    description: 'Numbers of cache entries that the process which handled the request has removed.',
    fields: (t) => ({
      internal: t.exposeInt('internal', {
        description: 'Number of internal tokens that were removed from memory.',
      }),
      notebook: t.exposeInt('notebook', {
        description: 'Number of notebook tokens that were removed from memory.',
      }),
    }),
  })

builder.mutationField('clearTokenCache', (t) =>
  t.field({
    type: ClearTokenCachePayload,
    description:
      'Empties the in-memory token caches of every process. Revokes no token: all are found again in the database. Requires admin:token.',
    resolve: async (_root, _args, { actor, services }) => {
      requireAdmin(await actor())
      return services.tokenCache.clearEverywhere()
    },
  }),
)
