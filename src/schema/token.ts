import { type Page, parsePage } from '../domain/page.ts'
import { parseScopes } from '../domain/scope.ts'
import { builder } from './builder.ts'
import { toConnection } from './connection.ts'
import { DateTime } from './scalars.ts'
import { TokenChange, TokenChangeConnection, toChangeConnection } from './token-change.ts'
import { TokenType } from './token-type.ts'

export const Token = builder.prismaObject('Token', {
  description: 'Metadata of a token. Never has the secret.',
  fields: (t) => ({
    key: t.exposeID('key', {
      description:
        'Token key: the public half of the token. It identifies the token, and does not authenticate.',
    }),
    username: t.exposeString('username', { description: 'Username of the user of the token.' }),
    type: t.expose('type', { type: TokenType, description: 'Type of the token.' }),
    tokenName: t.exposeString('tokenName', {
      nullable: true,
      description: 'Name of the token; null for all but user tokens.',
    }),
    service: t.exposeString('service', {
      nullable: true,
      description: 'Service that the token is for; null for all but internal tokens.',
    }),
    scopes: t.stringList({
      description: 'Scopes of the token, sorted.',
      resolve: ({ scopes }) => [...parseScopes(scopes)],
    }),
    createdAt: t.expose('createdAt', { type: DateTime, description: 'Time at which the token was issued.' }),
    expiresAt: t.expose('expiresAt', {
      type: DateTime,
      nullable: true,
      description: 'Time at which the token expires; null if it never expires.',
    }),
    lastUsedAt: t.expose('lastUsedAt', {
      type: DateTime,
      nullable: true,
      description:
        'Time at which the token was last used, updated at most once a minute; null if it was never used.',
    }),
  }),
})

export const TokenConnection = builder.connectionObject(
  {
    type: Token,
    name: 'TokenConnection',
    description: 'A page of tokens, newest first.',
    edgesField: { description: 'Tokens of the page, each with its cursor.' },
  },
  { name: 'TokenEdge', description: 'A token and its cursor.', nodeField: { description: 'The token.' } },
)

/** Returns a page of tokens as a connection. */
const toTokenConnection = <Row extends { createdAt: Date; key: string }>(
  page: Page<Row>,
  count: () => Promise<number>,
) =>
  toConnection(page, {
    kind: 'token',
    positionOf: ({ createdAt, key }) => ({ at: createdAt, tie: key }),
    count,
  })

builder.prismaObjectFields(Token, (t) => ({
  parent: t.field({
    type: Token,
    nullable: true,
    description:
      'Parent: the token that this one was delegated from; null if it has no parent, or the parent was deleted.',
    resolve: async ({ key }, _args, { view }) => (await view()).parentOf(key),
  }),
  children: t.connection(
    {
      type: Token,
      description: 'Children: the tokens delegated from this one, newest first.',
      resolve: async ({ key }, args, ctx) => {
        const [view, page] = [await ctx.view(), parsePage('token', args)]
        return toTokenConnection(await view.childrenOf(key, page), () => view.countChildrenOf(key))
      },
    },
    TokenConnection,
  ),
  changes: t.connection(
    {
      type: TokenChange,
      description: 'History events of this token, newest first.',
      resolve: async ({ key }, args, ctx) => {
        const [view, page] = [await ctx.view(), parsePage('change', args)]
        return toChangeConnection(await view.changesOf(key, page), () => view.countChangesOf(key))
      },
    },
    TokenChangeConnection,
  ),
}))

builder.queryFields((t) => ({
  token: t.prismaField({
    type: 'Token',
    nullable: true,
    description:
      "Token with this key; NOT_FOUND if there is none. With admin:token: any token. With user:token: tokens of the current token's user.",
    args: { key: t.arg.id({ required: true, description: 'Token key.' }) },
    resolve: async (query, _root, { key }, { view }) => (await view()).get(key, query),
  }),
  tokens: t.connection(
    {
      type: Token,
      description:
        "Tokens, newest first. With admin:token: of all users. With user:token: of the current token's user.",
      args: {
        username: t.arg.string({ description: 'Username of the user of the tokens. Default: all users.' }),
        type: t.arg({ type: TokenType, description: 'Type of the tokens. Default: all types.' }),
      },
      resolve: async (_root, { username, type, ...args }, ctx) => {
        const [view, page] = [await ctx.view(), parsePage('token', args)]
        const filter = { username: username ?? undefined, type: type ?? undefined }
        return toTokenConnection(await view.tokens(filter, page), () => view.countTokens(filter))
      },
    },
    TokenConnection,
  ),
}))
