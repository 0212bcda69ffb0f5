import { PorthorError } from '../domain/errors.ts'
import { toTokenKey } from '../domain/token.ts'
import { builder } from './builder.ts'
import { callerOf } from './context.ts'
import { DateTime } from './scalars.ts'

const ModifyTokenInput = builder.inputType('ModifyTokenInput', {
  description: 'What to change. What is left out, or null, stays as it is.',
  fields: (t) => ({
    tokenName: t.string({ description: "A new name, unlike any other of the user's tokens." }),
    scopes: t.stringList({ description: 'Replaces all scopes; an empty list means none.' }),
    expiresAt: t.field({ type: DateTime, description: 'A new end, at least 300 s ahead.' }),
    noExpire: t.boolean({ description: 'true: it shall never end. Not together with expiresAt.' }),
  }),
})

builder.mutationField('modifyToken', (t) =>
  t.prismaField({
    type: 'Token',
    description:
      'Changes a user token. A shorter life or fewer scopes reach every token delegated from it. Needs admin:token.',
    args: {
      key: t.arg.id({ required: true, description: 'Public half of the token.' }),
      input: t.arg({ type: ModifyTokenInput, required: true, description: 'What to change.' }),
    },
    resolve: async (query, _root, { key, input }, ctx) => {
      const { tokenName, scopes, expiresAt, noExpire } = input
      if (noExpire && expiresAt) {
        throw new PorthorError('INVALID_EXPIRES', 'Give expiresAt or noExpire, not both.')
      }
      await ctx.services.modification.modify(await callerOf(ctx), toTokenKey(key), {
        tokenName: tokenName ?? undefined,
        scopes: scopes ?? undefined,
        expiresAt: noExpire ? null : (expiresAt ?? undefined),
      })
      return (await ctx.view()).get(key, query)
    },
  }),
)
