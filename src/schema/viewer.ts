import { requireTokenData } from '../domain/actor.ts'
import type { TokenData } from '../domain/token.ts'
import { builder } from './builder.ts'
import { UserInfo } from './user-info.ts'

const Viewer = builder.objectRef<TokenData>('Viewer').implement({
  description: 'The acting token and its user.',
  fields: (t) => ({
    token: t.prismaField({
      type: 'Token',
      description: 'The token that this request was made with.',
      resolve: (query, data, _args, { services }) => services.directory.getOwn(data.token.key, query),
    }),
    user: t.field({
      type: UserInfo,
      description: 'The user it belongs to.',
      resolve: ({ username, userInfo }) => ({ username, ...userInfo }),
    }),
  }),
})

builder.queryField('viewer', (t) =>
  t.field({
    type: Viewer,
    description: 'Who is asking. The bootstrap token is nobody and gets PERMISSION_DENIED.',
    resolve: async (_root, _args, { actor }) => requireTokenData(await actor()),
  }),
)
