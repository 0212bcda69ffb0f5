import { PorthorError } from '../domain/errors.ts'
import { type TokenKey, toTokenKey } from '../domain/token.ts'
import type { Revoked } from '../services/token-revocation-service.ts'
import { builder } from './builder.ts'
import { callerOf } from './context.ts'
import { DateTime } from './scalars.ts'
import { argumentsBelow } from './selection.ts'
import { TokenType } from './token-type.ts'

/** Keys that one answer may hold. */
const MOST_KEYS = 10_000

function requireKeyCount(first: number): void {
  if (first >= 0 && first <= MOST_KEYS) return
  throw new PorthorError('INVALID_PAGE_SIZE', `first must be 0 to ${MOST_KEYS}.`, {
    facts: { minimum: 0, maximum: MOST_KEYS },
  })
}

const RevokeTokenPayload = builder
  .objectRef<{ readonly keys: readonly TokenKey[] }>('RevokeTokenPayload')
  .implement({
    description: 'What a revocation ended.',
    fields: (t) => ({
      keys: t.idList({
        description: 'Keys of all tokens that died, deepest first, the named one last.',
        resolve: ({ keys }) => [...keys],
      }),
    }),
  })

const RevokeTokensPayload = builder.objectRef<Revoked>('RevokeTokensPayload').implement({
  description: 'What a revocation of many ended, or in a dry run would end.',
  fields: (t) => ({
    count: t.exposeInt('count', { description: 'How many tokens: those that match, and their descendants.' }),
    keys: t.idList({
      description: 'The first of their keys.',
      args: {
        first: t.arg.int({ required: true, defaultValue: 100, description: `How many: 0 to ${MOST_KEYS}.` }),
      },
      resolve: ({ keys }, { first }) => keys.slice(0, first),
    }),
  }),
})

const RevokeTokensFilter = builder.inputType('RevokeTokensFilter', {
  description: 'Which tokens to revoke. All that is given must match, and something must be given.',
  fields: (t) => ({
    username: t.string({ description: 'Whose tokens.' }),
    service: t.string({ description: 'Those lent to this service.' }),
    type: t.field({ type: TokenType, description: 'What kind of token.' }),
    ancestor: t.id({ description: 'Those below this token; itself it is spared.' }),
    createdBefore: t.field({ type: DateTime, description: 'Those made before this time.' }),
  }),
})

builder.mutationFields((t) => ({
  revokeToken: t.field({
    type: RevokeTokenPayload,
    description:
      "Ends a token and all that were delegated from it, at once. One's own with user:token, any with admin:token.",
    args: { key: t.arg.id({ required: true, description: 'Public half of the token.' }) },
    resolve: async (_root, { key }, ctx) => ({
      keys: await ctx.services.revocation.revoke(await callerOf(ctx), toTokenKey(key)),
    }),
  }),
  revokeTokens: t.field({
    type: RevokeTokensPayload,
    description: 'Ends all tokens that match, and their descendants. Needs admin:token.',
    args: {
      filter: t.arg({ type: RevokeTokensFilter, required: true, description: 'Which tokens.' }),
      dryRun: t.arg.boolean({
        required: true,
        defaultValue: false,
        description: 'Only counts what would be revoked.',
      }),
    },
    resolve: async (_root, { filter, dryRun }, ctx, info) => {
      const { revocation } = ctx.services
      const criteria = {
        username: filter.username ?? undefined,
        service: filter.service ?? undefined,
        type: filter.type ?? undefined,
        ancestor: filter.ancestor == null ? undefined : toTokenKey(filter.ancestor),
        createdBefore: filter.createdBefore ?? undefined,
      }
      const caller = await callerOf(ctx)
      // Before anything is revoked: the field itself would refuse it too late.
      for (const { first } of argumentsBelow(info, 'keys')) requireKeyCount(Number(first))
      return dryRun
        ? revocation.findMatching(caller, criteria, MOST_KEYS)
        : revocation.revokeMatching(caller, criteria)
    },
  }),
}))
