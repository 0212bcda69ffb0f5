import { PorthorError } from '../domain/errors.ts'
import type { TokenKey } from '../domain/token.ts'
import type { Revoked } from '../services/tokens/token-revocation-service.ts'
import { builder } from './builder.ts'
import { callerOf } from './request-context.ts'
import { DateTime } from './scalars.ts'
import { argumentsBelow } from './selection.ts'
import { TokenType } from './token-type.ts'

/** Number of keys that one response may have. */
const MAX_RETURNED_KEYS = 10_000

function requireKeyCount(first: number): void {
  if (first >= 0 && first <= MAX_RETURNED_KEYS) return
  throw new PorthorError('INVALID_PAGE_SIZE', `first must be 0 to ${MAX_RETURNED_KEYS}.`, {
    facts: { minimum: 0, maximum: MAX_RETURNED_KEYS },
  })
}

const RevokeTokenPayload = builder
  .objectRef<{ readonly keys: readonly TokenKey[] }>('RevokeTokenPayload')
  .implement({
    description: 'Result of a revocation.',
    fields: (t) => ({
      keys: t.idList({
        description: 'Token keys of all revoked tokens: the deepest first, the named token last.',
        resolve: ({ keys }) => [...keys],
      }),
    }),
  })

const RevokeTokensPayload = builder.objectRef<Revoked>('RevokeTokensPayload').implement({
  description: 'Result of a bulk revocation, or of its dry run.',
  fields: (t) => ({
    count: t.exposeInt('count', {
      description: 'Number of revoked tokens: those that match, and their descendants.',
    }),
    keys: t.idList({
      description: 'Token keys of the first revoked tokens.',
      args: {
        first: t.arg.int({
          required: true,
          defaultValue: 100,
          description: `Number of keys to return: 0 to ${MAX_RETURNED_KEYS}.`,
        }),
      },
      resolve: ({ keys }, { first }) => keys.slice(0, first),
    }),
  }),
})

const RevokeTokensFilter = builder.inputType('RevokeTokensFilter', {
  description: 'Criteria of tokens to revoke; all given ones must match, and at least one must be given.',
  fields: (t) => ({
    username: t.string({ description: 'Username of the user of the token.' }),
    service: t.string({ description: 'Service that the token is for.' }),
    type: t.field({ type: TokenType, description: 'Type of the token.' }),
    ancestor: t.id({
      description: 'Token key: matches all descendants of this token, but not the token itself.',
    }),
    createdBefore: t.field({
      type: DateTime,
      description: 'Matches tokens that were issued before this time.',
    }),
  }),
})

builder.mutationFields((t) => ({
  revokeToken: t.field({
    type: RevokeTokenPayload,
    description:
      "Revokes a token and all tokens delegated from it, at once. The current token: no scope required. Other tokens of one's own: user:token. Any token: admin:token.",
    args: { key: t.arg.id({ required: true, description: 'Token key.' }) },
    resolve: async (_root, { key }, ctx) => ({
      keys: await ctx.services.revocation.revoke(await callerOf(ctx), key),
    }),
  }),
  revokeTokens: t.field({
    type: RevokeTokensPayload,
    description: 'Revokes all tokens that match the filter, and their descendants. Requires admin:token.',
    args: {
      filter: t.arg({ type: RevokeTokensFilter, required: true, description: 'Criteria of the tokens.' }),
      dryRun: t.arg.boolean({
        required: true,
        defaultValue: false,
        description: 'If true, revokes nothing, and returns what would be revoked.',
      }),
    },
    resolve: async (_root, { filter, dryRun }, ctx, info) => {
      const { revocation } = ctx.services
      const criteria = {
        username: filter.username ?? undefined,
        service: filter.service ?? undefined,
        type: filter.type ?? undefined,
        ancestor: filter.ancestor ?? undefined,
        createdBefore: filter.createdBefore ?? undefined,
      }
      const caller = await callerOf(ctx)
      // Checked before anything is revoked: the field itself would be resolved too late.
      for (const { first } of argumentsBelow(info, 'keys')) requireKeyCount(Number(first))
      return dryRun
        ? revocation.findMatching(caller, criteria, MAX_RETURNED_KEYS)
        : revocation.revokeMatching(caller, criteria)
    },
  }),
}))
