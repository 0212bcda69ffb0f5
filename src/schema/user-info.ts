import type { Group as GroupData, NumericId, UserInfo as UserInfoData } from '../domain/token.ts'
import { isInt32, resolveUserInfo } from '../domain/user.ts'
import { builder } from './builder.ts'
import { BigInteger } from './scalars.ts'

const int32OrNull = (id: NumericId | null): number | null => (id !== null && isInt32(id) ? id : null)

/** A group whose number fits `Int`. */
type SmallGroup = GroupData & { readonly id: number }

const isSmall = (group: GroupData): group is SmallGroup => isInt32(group.id)

const Group = builder.objectRef<SmallGroup>('Group').implement({
  description: 'A group that a user belongs to, with a numeric identifier (GID) within 32 bits.',
  fields: (t) => ({
    name: t.exposeString('name', { description: 'Name of the group.' }),
    id: t.exposeInt('id', { description: 'Its numeric identifier (GID).' }),
  }),
})

const PosixGroup = builder.objectRef<GroupData>('PosixGroup').implement({
  description: 'A group that a user belongs to, with a numeric identifier (GID) of any size.',
  fields: (t) => ({
    name: t.exposeString('name', { description: 'Name of the group.' }),
    gidNumber: t.field({
      type: BigInteger,
      description: 'Its numeric identifier (GID).',
      resolve: ({ id }) => id,
    }),
  }),
})

export const UserInfo = builder
  .objectRef<UserInfoData & { readonly username: string }>('UserInfo')
  .implement({
    description:
      'What a token records about its user. What is not recorded is null: whoever needs it looks it up elsewhere.',
    fields: (t) => ({
      username: t.exposeString('username', { description: 'The name the user logs in by.' }),
      name: t.exposeString('name', { nullable: true, description: 'The name people know the user by.' }),
      email: t.exposeString('email', { nullable: true, description: 'Electronic mail address.' }),
      uid: t.int({
        nullable: true,
        description: 'Numeric user identifier (UID); null beyond 32 bits: see uidNumber.',
        resolve: ({ uid }) => int32OrNull(uid),
      }),
      gid: t.int({
        nullable: true,
        description: 'Numeric identifier of the primary group (GID); null beyond 32 bits: see gidNumber.',
        resolve: ({ gid }) => int32OrNull(gid),
      }),
      groups: t.field({
        type: [Group],
        description:
          'The recorded groups whose numeric identifier is within 32 bits, in their order. Empty also where no groups are recorded: see groupsRecorded and allGroups.',
        resolve: ({ groups }) => (groups ?? []).filter(isSmall),
      }),
      groupsRecorded: t.boolean({
        description:
          'Whether the token records the groups of its user. Where it does not, they are unknown here, as at sites that look groups up in LDAP; where it does, an empty list means that there are none.',
        resolve: ({ groups }) => groups !== null,
      }),
      uidNumber: t.field({
        type: BigInteger,
        nullable: true,
        description: 'Numeric user identifier (UID), of any size.',
        resolve: ({ uid }) => uid,
      }),
      gidNumber: t.field({
        type: BigInteger,
        nullable: true,
        description: 'Numeric identifier of the primary group (GID), of any size.',
        resolve: ({ gid }) => gid,
      }),
      allGroups: t.field({
        type: [PosixGroup],
        nullable: true,
        description:
          'All recorded groups, in their order, with numeric identifiers of any size; null where no groups are recorded.',
        resolve: ({ groups }) => groups,
      }),
    }),
  })

const GROUP_NAME = 'Begins with a letter or digit, holds only A-Z a-z 0-9 . _ - and at least one letter.'

const GroupInput = builder.inputType('GroupInput', {
  description: 'A group that a user belongs to, with a numeric identifier (GID) within 32 bits.',
  fields: (t) => ({
    name: t.string({ required: true, description: GROUP_NAME }),
    id: t.int({ required: true, description: 'Numeric identifier (GID).' }),
  }),
})

const PosixGroupInput = builder.inputType('PosixGroupInput', {
  description: 'A group that a user belongs to, with a numeric identifier (GID) of up to 64 bits.',
  fields: (t) => ({
    name: t.string({ required: true, description: GROUP_NAME }),
    gidNumber: t.field({ type: BigInteger, required: true, description: 'Numeric identifier (GID).' }),
  }),
})

export const UserInfoInput = builder.inputType('UserInfoInput', {
  description:
    'What the token records about its user. What is left out is not recorded: whoever needs it looks it up elsewhere.',
  fields: (t) => ({
    name: t.string({ description: 'The name people know the user by; not empty.' }),
    email: t.string({ description: 'Electronic mail address; not empty.' }),
    uid: t.int({ description: 'Numeric user identifier (UID), at least 1.' }),
    gid: t.int({ description: 'Numeric identifier of the primary group (GID), at least 1.' }),
    groups: t.field({
      type: [GroupInput],
      description: 'The groups of the user, in their order; an empty list records that there are none.',
    }),
    uidNumber: t.field({
      type: BigInteger,
      description:
        'In place of uid where that takes more than 32 bits. If both are given they must be equal.',
    }),
    gidNumber: t.field({
      type: BigInteger,
      description:
        'In place of gid where that takes more than 32 bits. If both are given they must be equal.',
    }),
    allGroups: t.field({
      type: [PosixGroupInput],
      description:
        'In place of groups where an identifier takes more than 32 bits. If both are given, groups must be those of allGroups within 32 bits, in the same order.',
    }),
  }),
})

/** The input as the services take it: what was left out is `null`. */
export const toUserInfo = (
  input: typeof UserInfoInput.$inferInput | null | undefined,
): UserInfoData | undefined =>
  input
    ? resolveUserInfo({
        name: input.name ?? null,
        email: input.email ?? null,
        uid: input.uid ?? null,
        gid: input.gid ?? null,
        groups: input.groups ?? null,
        uidNumber: input.uidNumber ?? null,
        gidNumber: input.gidNumber ?? null,
        allGroups: input.allGroups?.map(({ name, gidNumber }) => ({ name, id: gidNumber })) ?? null,
      })
    : undefined
