import type { Group as GroupData, UserInfo as UserInfoData } from '../domain/token.ts'
import { builder } from './builder.ts'

/** Whether it is one of GraphQL's Int. In the records of Gafaelfawr numbers may be larger, as that of nobody is. */
const isInt = (number: number): boolean => number === (number | 0)

const intOrNull = (number: number | null): number | null => (number !== null && isInt(number) ? number : null)

const Group = builder.objectRef<GroupData>('Group').implement({
  description: 'A group that a user belongs to.',
  fields: (t) => ({
    name: t.exposeString('name', { description: 'Name of the group.' }),
    id: t.exposeInt('id', { description: 'Its numeric identifier (GID).' }),
  }),
})

export const UserInfo = builder
  .objectRef<UserInfoData & { readonly username: string }>('UserInfo')
  .implement({
    description: 'What a token says about its user. A null is looked up elsewhere by whoever needs it.',
    fields: (t) => ({
      username: t.exposeString('username', { description: 'The name the user logs in by.' }),
      name: t.exposeString('name', { nullable: true, description: 'The name people know the user by.' }),
      email: t.exposeString('email', { nullable: true, description: 'Electronic mail address.' }),
      uid: t.int({
        nullable: true,
        description: 'Numeric user identifier (UID); null where it takes more than 31 bits.',
        resolve: ({ uid }) => intOrNull(uid),
      }),
      gid: t.int({
        nullable: true,
        description: 'Numeric identifier of the primary group (GID); null where it takes more than 31 bits.',
        resolve: ({ gid }) => intOrNull(gid),
      }),
      groups: t.field({
        type: [Group],
        description:
          'The groups on record with the token, in their order, but for those whose number takes more than 31 bits.',
        resolve: ({ groups }) => (groups ?? []).filter(({ id }) => isInt(id)),
      }),
    }),
  })

const GroupInput = builder.inputType('GroupInput', {
  description: 'A group that a user belongs to.',
  fields: (t) => ({
    name: t.string({
      required: true,
      description: 'Begins with a letter or digit, holds only A-Z a-z 0-9 . _ - and at least one letter.',
    }),
    id: t.int({ required: true, description: 'Numeric identifier (GID).' }),
  }),
})

export const UserInfoInput = builder.inputType('UserInfoInput', {
  description:
    'What the token shall say about its user. What is left out is looked up elsewhere by whoever needs it.',
  fields: (t) => ({
    name: t.string({ description: 'The name people know the user by; not empty.' }),
    email: t.string({ description: 'Electronic mail address; not empty.' }),
    uid: t.int({ description: 'Numeric user identifier (UID), at least 1.' }),
    gid: t.int({ description: 'Numeric identifier of the primary group (GID), at least 1.' }),
    groups: t.field({
      type: [GroupInput],
      description: 'The groups of the user, in their order; an empty list says that there are none.',
    }),
  }),
})

type Optional<T> = { readonly [K in keyof T]?: T[K] | null | undefined }

/** The input as the services take it: what was left out is `null`. */
export const toUserInfo = (input: Optional<UserInfoData> | null | undefined): UserInfoData | undefined =>
  input
    ? {
        name: input.name ?? null,
        email: input.email ?? null,
        uid: input.uid ?? null,
        gid: input.gid ?? null,
        groups: input.groups ?? null,
      }
    : undefined
