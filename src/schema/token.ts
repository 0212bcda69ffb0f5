import { parsePage } from '../domain/page.ts'
import { parseScopes } from '../domain/scope.ts'
import { builder } from './builder.ts'
import { defineConnection, pageArguments } from './connection.ts'
import { DateTime } from './scalars.ts'
import { TokenChangeConnection } from './token-change.ts'
import { TokenType } from './token-type.ts'

export const Token = builder.prismaObject('Token', {
  description: 'What is on record about one token. Never holds the secret half.',
  fields: (t) => ({
    key: t.exposeID('key', { description: 'Public half of the token: names it, and does not authenticate.' }),
    username: t.exposeString('username', { description: 'Whose token it is.' }),
    type: t.expose('type', { type: TokenType, description: 'What kind of token it is.' }),
    tokenName: t.exposeString('tokenName', {
      nullable: true,
      description: 'The name its user gave it. User tokens only.',
    }),
    service: t.exposeString('service', {
      nullable: true,
      description: 'The service it is lent to. Internal tokens only.',
    }),
    scopes: t.stringList({
      description: 'What it allows, sorted.',
      resolve: ({ scopes }) => [...parseScopes(scopes)],
    }),
    createdAt: t.expose('createdAt', { type: DateTime, description: 'When it was made.' }),
    expiresAt: t.expose('expiresAt', {
      type: DateTime,
      nullable: true,
      description: 'When it ends; null for a token without end.',
    }),
    lastUsedAt: t.expose('lastUsedAt', {
      type: DateTime,
      nullable: true,
      description: 'When it was last used, to the minute; null while it was not.',
    }),
  }),
})

export const TokenConnection = defineConnection({
  name: 'Token',
  kind: 'token',
  node: Token,
  noun: 'tokens',
  positionOf: ({ createdAt, key }) => ({ at: createdAt, tie: key }),
})

builder.prismaObjectFields(Token, (t) => ({
  parent: t.field({
    type: Token,
    nullable: true,
    description: 'The token it was delegated from; null where there is none or it is gone.',
    resolve: async ({ key }, _args, { view }) => (await view()).parentOf(key),
  }),
  children: t.field({
    type: TokenConnection,
    description: 'The tokens delegated from it, newest first.',
    args: pageArguments,
    resolve: async ({ key }, args, ctx) => {
      const [view, page] = [await ctx.view(), parsePage('token', args)]
      return { page: await view.childrenOf(key, page), count: () => view.countChildrenOf(key) }
    },
  }),
  changes: t.field({
    type: TokenChangeConnection,
    description: 'Its history, newest first.',
    args: pageArguments,
    resolve: async ({ key }, args, ctx) => {
      const [view, page] = [await ctx.view(), parsePage('change', args)]
      return { page: await view.changesOf(key, page), count: () => view.countChangesOf(key) }
    },
  }),
}))

builder.queryFields((t) => ({
  token: t.prismaField({
    type: 'Token',
    nullable: true,
    description:
      'One token: an admin any, others their own, with user:token. NOT_FOUND where there is none to see.',
    args: { key: t.arg.id({ required: true, description: 'Public half of the token.' }) },
    resolve: async (query, _root, { key }, { view }) => (await view()).get(key, query),
  }),
  tokens: t.field({
    type: TokenConnection,
    description: 'Tokens, newest first: of all users for admins, else of the own user, with user:token.',
    args: {
      username: t.arg.string({ description: 'Only those of this user.' }),
      type: t.arg({ type: TokenType, description: 'Only those of this type.' }),
      ...pageArguments,
    },
    resolve: async (_root, { username, type, ...args }, ctx) => {
      const [view, page] = [await ctx.view(), parsePage('token', args)]
      const filter = { username: username ?? undefined, type: type ?? undefined }
      return { page: await view.tokens(filter, page), count: () => view.countTokens(filter) }
    },
  }),
}))
