import { type TokenChangeAction as ActionName, TOKEN_CHANGE_ACTIONS } from '../domain/history.ts'
import { parseScopes } from '../domain/scope.ts'
import { builder } from './builder.ts'
import { defineConnection } from './connection.ts'
import { DateTime } from './scalars.ts'
import { TokenType } from './token-type.ts'

const DESCRIPTIONS: Readonly<Record<ActionName, string>> = {
  create: 'It was made.',
  revoke: 'It was ended before its time, by itself or with a token above it.',
  expire: 'Its time was over, and upkeep removed it.',
  edit: 'Its name, scopes or expiry were changed.',
}

const TokenChangeAction = builder.enumType('TokenChangeAction', {
  description: 'What can happen to a token.',
  values: Object.fromEntries(
    TOKEN_CHANGE_ACTIONS.map((action) => [
      action.toUpperCase(),
      { value: action, description: DESCRIPTIONS[action] },
    ]),
  ) as Record<Uppercase<ActionName>, { value: ActionName; description: string }>,
})

export const TokenChange = builder.prismaObject('TokenChange', {
  description: 'An entry of the history. It outlives its token, and says how the token was after the change.',
  fields: (t) => ({
    token: t.exposeID('token', { description: 'Key of the token.' }),
    username: t.exposeString('username', { description: 'Whose token it is.' }),
    type: t.expose('type', { type: TokenType, description: 'What kind of token it is.' }),
    action: t.expose('action', { type: TokenChangeAction, description: 'What happened.' }),
    actor: t.exposeString('actor', {
      nullable: true,
      description: 'Who did it: a username, <bootstrap>, or <internal> for Porthor itself.',
    }),
    tokenName: t.exposeString('tokenName', { nullable: true, description: 'Name of the token.' }),
    parent: t.exposeID('parent', { nullable: true, description: 'Key of the token it was delegated from.' }),
    service: t.exposeString('service', { nullable: true, description: 'The service it is lent to.' }),
    scopes: t.stringList({
      description: 'What it allows, sorted.',
      resolve: ({ scopes }) => [...parseScopes(scopes)],
    }),
    expiresAt: t.expose('expiresAt', {
      type: DateTime,
      nullable: true,
      description: 'When it ends; null for a token without end.',
    }),
    oldTokenName: t.exposeString('oldTokenName', {
      nullable: true,
      description: 'Its name before an edit; null where the edit was not about it.',
    }),
    oldScopes: t.stringList({
      nullable: true,
      description: 'Its scopes before an edit; null where the edit was not about them.',
      resolve: ({ oldScopes }) => (oldScopes === null ? null : [...parseScopes(oldScopes)]),
    }),
    oldExpiresAt: t.expose('oldExpiresAt', {
      type: DateTime,
      nullable: true,
      description:
        'When it would have ended before an edit; null where that was never, or the edit was not about it.',
    }),
    expiresChanged: t.boolean({
      description:
        'Whether an edit gave it another end. Tells the two meanings of a null oldExpiresAt apart.',
      resolve: async (change, _args, { view }) => (await view()).changedExpiry(change),
    }),
    ipAddress: t.exposeString('ipAddress', {
      nullable: true,
      description: 'Address of the client that asked for it; null where none did.',
    }),
    eventTime: t.expose('eventTime', { type: DateTime, description: 'When it happened.' }),
  }),
})

export const TokenChangeConnection = defineConnection({
  name: 'TokenChange',
  kind: 'change',
  node: TokenChange,
  noun: 'history entries',
  positionOf: ({ eventTime, id }) => ({ at: eventTime, tie: String(id) }),
})
