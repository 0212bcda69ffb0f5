import { parseAddressFilter } from '../domain/ip-address.ts'
import { parsePage } from '../domain/page.ts'
import { toTokenKey } from '../domain/token.ts'
import { builder } from './builder.ts'
import { pageArguments } from './connection.ts'
import { DateTime } from './scalars.ts'
import { TokenChangeConnection } from './token-change.ts'
import { TokenType } from './token-type.ts'

const TokenChangeFilter = builder.inputType('TokenChangeFilter', {
  description: 'Which entries to list. All that is given must match.',
  fields: (t) => ({
    username: t.string({ description: 'Whose tokens.' }),
    actor: t.string({ description: 'Who did it: a username, <bootstrap> or <internal>.' }),
    key: t.id({ description: 'Key of a token: its entries and those of its children.' }),
    token: t.id({ description: 'Key of a token: its entries alone.' }),
    type: t.field({ type: TokenType, description: 'What kind of token.' }),
    since: t.field({ type: DateTime, description: 'Not before this time.' }),
    until: t.field({ type: DateTime, description: 'Not after this time.' }),
    ipAddress: t.string({
      description: 'Client address, or a CIDR block of them such as 192.0.2.0/24; IPv4 or IPv6.',
    }),
  }),
})

type FilterInput = typeof TokenChangeFilter.$inferInput

const toFilter = ({ key, token, ipAddress, ...rest }: FilterInput) => ({
  username: rest.username ?? undefined,
  actor: rest.actor ?? undefined,
  key: key == null ? undefined : toTokenKey(key),
  token: token == null ? undefined : toTokenKey(token),
  type: rest.type ?? undefined,
  since: rest.since ?? undefined,
  until: rest.until ?? undefined,
  ipAddress: ipAddress == null ? undefined : parseAddressFilter(ipAddress),
})

builder.queryField('tokenChanges', (t) =>
  t.field({
    type: TokenChangeConnection,
    description:
      'History of token changes, newest first: of all users for admins, else of the own user, with user:token.',
    args: {
      filter: t.arg({ type: TokenChangeFilter, description: 'Which entries to list. Default: all.' }),
      ...pageArguments,
    },
    resolve: async (_root, { filter: input, ...args }, ctx) => {
      const [view, page, filter] = [await ctx.view(), parsePage('change', args), toFilter(input ?? {})]
      return { page: await view.changes(filter, page), count: () => view.countChanges(filter) }
    },
  }),
)
