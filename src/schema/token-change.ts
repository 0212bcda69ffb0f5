import { type TokenChangeAction as ActionName, TOKEN_CHANGE_ACTIONS } from '../domain/history.ts'
import type { Page } from '../domain/page.ts'
import { parseScopes } from '../domain/scope.ts'
import { builder } from './builder.ts'
import { toConnection } from './connection.ts'
import { DateTime } from './scalars.ts'
import { TokenType } from './token-type.ts'

const DESCRIPTIONS: Readonly<Record<ActionName, string>> = {
  create: 'The token was issued.',
  revoke: 'The token was revoked, by itself or together with an ancestor.',
  expire: 'The token was expired, and maintenance deleted its row.',
  edit: 'The name, scopes or expiry of the token were changed.',
}

const TokenChangeAction = builder.enumType('TokenChangeAction', {
  description: 'Kind of a history event.',
  values: Object.fromEntries(
    TOKEN_CHANGE_ACTIONS.map((action) => [
      action.toUpperCase(),
      { value: action, description: DESCRIPTIONS[action] },
    ]),
  ) as Record<Uppercase<ActionName>, { value: ActionName; description: string }>,
})

export const TokenChange = builder.prismaObject('TokenChange', {
  description:
    'A history event of a token. Its fields are those of the token after the change. The event stays when the token is revoked or expires.',
  fields: (t) => ({
    token: t.exposeID('token', { description: 'Token key.' }),
    username: t.exposeString('username', { description: 'Username of the user of the token.' }),
    type: t.expose('type', { type: TokenType, description: 'Type of the token.' }),
    action: t.expose('action', { type: TokenChangeAction, description: 'Kind of the event.' }),
    actor: t.exposeString('actor', {
      nullable: true,
      description:
        'Actor of the change: a username, <bootstrap>, or <internal> for Porthor and its operator.',
    }),
    tokenName: t.exposeString('tokenName', {
      nullable: true,
      description: 'Name of the token; null for all but user tokens.',
    }),
    parent: t.exposeID('parent', {
      nullable: true,
      description: 'Token key of the parent; null for a token that is not delegated.',
    }),
    service: t.exposeString('service', {
      nullable: true,
      description: 'Service that the token is for; null for all but internal tokens.',
    }),
    scopes: t.stringList({
      description: 'Scopes of the token, sorted.',
      resolve: ({ scopes }) => [...parseScopes(scopes)],
    }),
    expiresAt: t.expose('expiresAt', {
      type: DateTime,
      nullable: true,
      description: 'Time at which the token expires; null if it never expires.',
    }),
    oldTokenName: t.exposeString('oldTokenName', {
      nullable: true,
      description: 'Name before an edit; null if the edit did not change it.',
    }),
    oldScopes: t.stringList({
      nullable: true,
      description: 'Scopes before an edit; null if the edit did not change them.',
      resolve: ({ oldScopes }) => (oldScopes === null ? null : [...parseScopes(oldScopes)]),
    }),
    oldExpiresAt: t.expose('oldExpiresAt', {
      type: DateTime,
      nullable: true,
      description:
        'Expiry before an edit; null if the edit did not change it, or if the token did not expire before: see expiresChanged.',
    }),
    expiresChanged: t.boolean({
      description:
        'Whether an edit changed the expiry. It distinguishes the two meanings of a null oldExpiresAt.',
      resolve: async (change, _args, { view }) => (await view()).changedExpiry(change),
    }),
    ipAddress: t.exposeString('ipAddress', {
      nullable: true,
      description: 'Address of the client that made the change; null if it is unknown or no client did.',
    }),
    eventTime: t.expose('eventTime', { type: DateTime, description: 'Time of the event.' }),
  }),
})

export const TokenChangeConnection = builder.connectionObject(
  {
    type: TokenChange,
    name: 'TokenChangeConnection',
    description: 'A page of history events, newest first.',
    edgesField: { description: 'History events of the page, each with its cursor.' },
  },
  {
    name: 'TokenChangeEdge',
    description: 'A history event and its cursor.',
    nodeField: { description: 'The history event.' },
  },
)

/** Returns a page of history events as a connection. */
export const toChangeConnection = <Row extends { eventTime: Date; id: number }>(
  page: Page<Row>,
  count: () => Promise<number>,
) =>
  toConnection(page, {
    kind: 'change',
    positionOf: ({ eventTime, id }) => ({ at: eventTime, tie: String(id) }),
    count,
  })
