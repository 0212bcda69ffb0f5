import { PorthorError } from '../domain/errors.ts'
import { builder } from './builder.ts'
import { callerOf } from './request-context.ts'
import { DateTime } from './scalars.ts'

const ModifyTokenInput = builder.inputType('ModifyTokenInput', {
  description: 'Changes to a user token. A field that is left out or null stays as it is.',
  fields: (t) => ({
    tokenName: t.string({ description: "New name, unique among the user's tokens." }),
    scopes: t.stringList({
      description: 'New scopes, in place of all present ones; an empty list means no scopes.',
    }),
    expiresAt: t.field({
      type: DateTime,
      description: 'New time at which the token expires, at least 300 s ahead.',
    }),
    noExpire: t.boolean({
      description: 'If true, the token never expires. Must not be given together with expiresAt.',
    }),
  }),
})

builder.mutationField('modifyToken', (t) =>
  t.prismaField({
    type: 'Token',
    description:
      'Modifies a user token. An earlier expiry and fewer scopes also apply to all tokens delegated from it. Requires admin:token.',
    args: {
      key: t.arg.id({ required: true, description: 'Token key.' }),
      input: t.arg({ type: ModifyTokenInput, required: true, description: 'The changes.' }),
    },
    resolve: async (query, _root, { key, input }, ctx) => {
      const { tokenName, scopes, expiresAt, noExpire } = input
      if (noExpire && expiresAt) {
        throw new PorthorError(
          'INVALID_EXPIRES',
          'expiresAt and noExpire must not be given together: use one of them.',
        )
      }
      await ctx.services.modification.modify(await callerOf(ctx), key, {
        tokenName: tokenName ?? undefined,
        scopes: scopes ?? undefined,
        expiresAt: noExpire ? null : (expiresAt ?? undefined),
      })
      return (await ctx.view()).get(key, query)
    },
  }),
)
