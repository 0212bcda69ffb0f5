import { requireTokenData } from '../domain/actor.ts'
import type { TokenData } from '../domain/token.ts'
import { builder } from './builder.ts'
import { UserInfo } from './user-info.ts'

const Viewer = builder.objectRef<TokenData>('Viewer').implement({
  description: 'The current token and its user.',
  fields: (t) => ({
    token: t.prismaField({
      type: 'Token',
      description: 'The current token: the one that authenticates this request.',
      resolve: (query, data, _args, { services }) => services.queries.getOwn(data.token.key, query),
    }),
    user: t.field({
      type: UserInfo,
      description: 'The user of the current token.',
      resolve: ({ username, userInfo }) => ({ username, ...userInfo }),
    }),
  }),
})

builder.queryField('viewer', (t) =>
  t.field({
    type: Viewer,
    description:
      'The current token and its user. PERMISSION_DENIED for the bootstrap token, which has no user.',
    resolve: async (_root, _args, { actor }) => requireTokenData(await actor()),
  }),
)
