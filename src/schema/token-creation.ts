import { formatScopes } from '../domain/scope.ts'
import { formatToken, serviceOf, type TokenData } from '../domain/token.ts'
import { builder } from './builder.ts'
import { callerOf } from './context.ts'
import { DateTime } from './scalars.ts'
import { toUserInfo, UserInfoInput } from './user-info.ts'

interface Created {
  readonly data: TokenData
  readonly tokenName: string | null
}

const CreatedToken = builder.objectRef<Created>('CreatedToken').implement({
  description: 'A token that was just made.',
  fields: (t) => ({
    token: t.string({
      description: 'The bearer string. Shown this once: nobody can ask for it again.',
      resolve: ({ data }) => formatToken(data.token),
    }),
    info: t.prismaField({
      type: 'Token',
      description: 'What is on record about it.',
      // Not asked for: the database may be gone by now, and the string with it.
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
  '2 to 64 lower-case letters, digits and single inner hyphens, with two characters in a row of which the second is a letter.'
const SCOPES = 'What it shall allow: known scopes.'
const EXPIRES_AT = 'When it ends, at least 300 s ahead; without it, never.'

const CreateSessionTokenInput = builder.inputType('CreateSessionTokenInput', {
  description: 'The session to make.',
  fields: (t) => ({
    username: t.string({ required: true, description: USERNAME }),
    scopes: t.stringList({ required: true, defaultValue: [], description: SCOPES }),
    userInfo: t.field({ type: UserInfoInput, description: 'What it says about the user.' }),
  }),
})

const CreateServiceTokenInput = builder.inputType('CreateServiceTokenInput', {
  description: 'The service token to make.',
  fields: (t) => ({
    username: t.string({ required: true, description: 'Of a bot: begins with "bot-".' }),
    scopes: t.stringList({ required: true, defaultValue: [], description: SCOPES }),
    expiresAt: t.field({ type: DateTime, description: EXPIRES_AT }),
    userInfo: t.field({ type: UserInfoInput, description: 'What it says about the bot.' }),
  }),
})

const CreateUserTokenInput = builder.inputType('CreateUserTokenInput', {
  description: 'The user token to make.',
  fields: (t) => ({
    username: t.string({ description: `Whose it will be; one's own without it. ${USERNAME}` }),
    tokenName: t.string({
      required: true,
      description: "1 to 64 characters, unlike any other of the user's tokens.",
    }),
    scopes: t.stringList({
      required: true,
      defaultValue: [],
      description:
        'What it shall allow: known scopes, and unless an admin asks, scopes that the acting token holds.',
    }),
    expiresAt: t.field({ type: DateTime, description: EXPIRES_AT }),
    userInfo: t.field({
      type: UserInfoInput,
      description: "For admins who create it for someone else; one's own token inherits one's own.",
    }),
  }),
})

builder.mutationFields((t) => ({
  createSessionToken: t.field({
    type: CreatedToken,
    description: 'Makes a session, as after a log-in; it lives for the token lifetime. Needs admin:token.',
    args: { input: t.arg({ type: CreateSessionTokenInput, required: true, description: 'What to make.' }) },
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
    description: 'Makes a token for a bot. Needs admin:token.',
    args: { input: t.arg({ type: CreateServiceTokenInput, required: true, description: 'What to make.' }) },
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
      'Makes a token for a user to carry about. Needs user:token for oneself, admin:token for others.',
    args: { input: t.arg({ type: CreateUserTokenInput, required: true, description: 'What to make.' }) },
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
