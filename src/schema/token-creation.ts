import { formatScopes } from '../domain/scope.ts'
import { formatToken, serviceOf, type TokenData } from '../domain/token.ts'
import { builder } from './builder.ts'
import { callerOf } from './request-context.ts'
import { DateTime } from './scalars.ts'
import { toUserInfo, UserInfoInput } from './user-info.ts'

interface Created {
  readonly data: TokenData
  readonly tokenName: string | null
}

const CreatedToken = builder.objectRef<Created>('CreatedToken').implement({
  description: 'A token that was just issued.',
  fields: (t) => ({
    token: t.string({
      description: 'Bearer string of the token. It is returned only here, and cannot be retrieved later.',
      resolve: ({ data }) => formatToken(data.token),
    }),
    info: t.prismaField({
      type: 'Token',
      description: 'Metadata of the token.',
      // Without a query: if the database became unavailable now, the bearer string would be lost.
      resolve: (_query, { data, tokenName }) => ({
        key: data.token.key,
        username: data.username,
        type: data.type,
        tokenName,
        service: serviceOf(data),
        scopes: formatScopes(data.scopes),
        createdAt: data.createdAt,
        expiresAt: data.expiresAt,
        lastUsedAt: null,
      }),
    }),
  }),
})

const USERNAME =
  '2 to 64 lower-case letters, digits and single inner hyphens, with a letter right after another letter or digit.'
const SCOPES = 'Scopes of the token: known scopes.'
const EXPIRES_AT = 'Time at which the token expires, at least 300 s ahead. Default: it never expires.'

const CreateSessionTokenInput = builder.inputType('CreateSessionTokenInput', {
  description: 'The session to create.',
  fields: (t) => ({
    username: t.string({ required: true, description: `Username of the user: ${USERNAME}` }),
    scopes: t.stringList({ required: true, defaultValue: [], description: SCOPES }),
    userInfo: t.field({ type: UserInfoInput, description: 'User information that the token records.' }),
  }),
})

const CreateServiceTokenInput = builder.inputType('CreateServiceTokenInput', {
  description: 'The service token to create.',
  fields: (t) => ({
    username: t.string({ required: true, description: 'Username of the bot: begins with "bot-".' }),
    scopes: t.stringList({ required: true, defaultValue: [], description: SCOPES }),
    expiresAt: t.field({ type: DateTime, description: EXPIRES_AT }),
    userInfo: t.field({
      type: UserInfoInput,
      description: 'User information about the bot that the token records.',
    }),
  }),
})

const CreateUserTokenInput = builder.inputType('CreateUserTokenInput', {
  description: 'The user token to create.',
  fields: (t) => ({
    username: t.string({
      description: `Username of the user of the token: ${USERNAME} Default: the current token's user.`,
    }),
    tokenName: t.string({
      required: true,
      description: "Name of the token, unique among the user's tokens: 1 to 64 characters.",
    }),
    scopes: t.stringList({
      required: true,
      defaultValue: [],
      description:
        'Scopes of the token: known scopes. Without admin:token, only scopes that the current token holds.',
    }),
    expiresAt: t.field({ type: DateTime, description: EXPIRES_AT }),
    userInfo: t.field({
      type: UserInfoInput,
      description:
        "User information that the token records. Only for another user's token: one's own token inherits it from the current token.",
    }),
  }),
})

builder.mutationFields((t) => ({
  createSessionToken: t.field({
    type: CreatedToken,
    description:
      'Creates a session for a user, as a log-in does. It expires after the token lifetime. Requires admin:token.',
    args: {
      input: t.arg({ type: CreateSessionTokenInput, required: true, description: 'The session to create.' }),
    },
    resolve: async (_root, { input }, ctx) => ({
      data: await ctx.services.tokens.createSession(await callerOf(ctx), {
        ...input,
        userInfo: toUserInfo(input.userInfo),
      }),
      tokenName: null,
    }),
  }),
  createServiceToken: t.field({
    type: CreatedToken,
    description: 'Creates a service token for a bot. Requires admin:token.',
    args: {
      input: t.arg({
        type: CreateServiceTokenInput,
        required: true,
        description: 'The service token to create.',
      }),
    },
    resolve: async (_root, { input }, ctx) => ({
      data: await ctx.services.tokens.createService(await callerOf(ctx), {
        ...input,
        expiresAt: input.expiresAt ?? null,
        userInfo: toUserInfo(input.userInfo),
      }),
      tokenName: null,
    }),
  }),
  createUserToken: t.field({
    type: CreatedToken,
    description:
      'Creates a user token (personal access token). Requires user:token for oneself, and admin:token for others.',
    args: {
      input: t.arg({ type: CreateUserTokenInput, required: true, description: 'The user token to create.' }),
    },
    resolve: async (_root, { input }, ctx) => ({
      data: await ctx.services.tokens.createUser(await callerOf(ctx), {
        ...input,
        username: input.username ?? undefined,
        expiresAt: input.expiresAt ?? null,
        userInfo: toUserInfo(input.userInfo),
      }),
      tokenName: input.tokenName,
    }),
  }),
}))
