import { parseAddressFilter } from '../domain/ip-address.ts'
import { parsePage } from '../domain/page.ts'
import { builder } from './builder.ts'
import { DateTime } from './scalars.ts'
import { TokenChange, TokenChangeConnection, toChangeConnection } from './token-change.ts'
import { TokenType } from './token-type.ts'

const TokenChangeFilter = builder.inputType('TokenChangeFilter', {
  description: 'Criteria of history events; all given ones must match.',
  fields: (t) => ({
    username: t.string({ description: 'Username of the user of the token.' }),
    actor: t.string({ description: 'Actor of the change: a username, <bootstrap> or <internal>.' }),
    key: t.id({ description: 'Token key: matches events of this token and of its children.' }),
    token: t.id({ description: 'Token key: matches events of this token only.' }),
    type: t.field({ type: TokenType, description: 'Type of the token.' }),
    since: t.field({ type: DateTime, description: 'Earliest time of the event, inclusive.' }),
    until: t.field({ type: DateTime, description: 'Latest time of the event, inclusive.' }),
    ipAddress: t.string({
      description: 'IPv4 or IPv6 address of the client, or a CIDR block such as 192.0.2.0/24.',
    }),
  }),
})

type FilterInput = typeof TokenChangeFilter.$inferInput

const toFilter = ({ key, token, ipAddress, ...rest }: FilterInput) => ({
  username: rest.username ?? undefined,
  actor: rest.actor ?? undefined,
  key: key ?? undefined,
  token: token ?? undefined,
  type: rest.type ?? undefined,
  since: rest.since ?? undefined,
  until: rest.until ?? undefined,
  ipAddress: ipAddress == null ? undefined : parseAddressFilter(ipAddress),
})

builder.queryField('tokenChanges', (t) =>
  t.connection(
    {
      type: TokenChange,
      description:
        "History events of tokens, newest first. With admin:token: of all users. With user:token: of the current token's user.",
      args: {
        filter: t.arg({
          type: TokenChangeFilter,
          description: 'Criteria of the events. Default: all events.',
        }),
      },
      resolve: async (_root, { filter: input, ...args }, ctx) => {
        const [view, page, filter] = [await ctx.view(), parsePage('change', args), toFilter(input ?? {})]
        return toChangeConnection(await view.changes(filter, page), () => view.countChanges(filter))
      },
    },
    TokenChangeConnection,
  ),
)
