import { requireAdmin } from '../domain/actor.ts'
import { builder } from './builder.ts'

const ClearTokenCachePayload = builder
  .objectRef<{ readonly internal: number; readonly notebook: number }>('ClearTokenCachePayload')
  .implement({
    description: 'What the caches of the answering process held.',
    fields: (t) => ({
      internal: t.exposeInt('internal', { description: 'Internal tokens dropped from memory.' }),
      notebook: t.exposeInt('notebook', { description: 'Notebook tokens dropped from memory.' }),
    }),
  })

builder.mutationField('clearTokenCache', (t) =>
  t.field({
    type: ClearTokenCachePayload,
    description:
      'Empties the in-memory caches of every process. Revokes nothing: the tokens are found again in the database. Needs admin:token.',
    resolve: async (_root, _args, { actor, services }) => {
      requireAdmin(await actor())
      return services.tokenCache.clearEverywhere()
    },
  }),
)
