import type { Group as GroupData, NumericId, UserInfo as UserInfoData } from '../domain/token.ts'
import { isInt32, resolveUserInfo } from '../domain/user.ts'
import { builder } from './builder.ts'
import { BigInteger } from './scalars.ts'

const int32OrNull = (id: NumericId | null): number | null => (id !== null && isInt32(id) ? id : null)

/** A group whose identifier fits `Int`. */
type SmallGroup = GroupData & { readonly id: number }

const isSmall = (group: GroupData): group is SmallGroup => isInt32(group.id)

const Group = builder.objectRef<SmallGroup>('Group').implement({
  description: 'A group that a user belongs to, with a numeric identifier (GID) within 32 bits.',
  fields: (t) => ({
    name: t.exposeString('name', { description: 'Name of the group.' }),
    id: t.exposeInt('id', { description: 'Numeric identifier of the group (GID).' }),
  }),
})

const PosixGroup = builder.objectRef<GroupData>('PosixGroup').implement({
  description: 'A group that a user belongs to, with a numeric identifier (GID) of any size.',
  fields: (t) => ({
    name: t.exposeString('name', { description: 'Name of the group.' }),
    gidNumber: t.field({
      type: BigInteger,
      description: 'Numeric identifier of the group (GID).',
      resolve: ({ id }) => id,
    }),
  }),
})

export const UserInfo = builder
  .objectRef<UserInfoData & { readonly username: string }>('UserInfo')
  .implement({
    description:
      'User information that a token records. A value that is not recorded is null: a service looks it up elsewhere.',
    fields: (t) => ({
      username: t.exposeString('username', { description: 'Username of the user.' }),
      name: t.exposeString('name', { nullable: true, description: 'Full name of the user.' }),
      email: t.exposeString('email', { nullable: true, description: 'Email address of the user.' }),
      uid: t.int({
        nullable: true,
        description: 'Numeric user identifier (UID); null if it exceeds 32 bits: see uidNumber.',
        resolve: ({ uid }) => int32OrNull(uid),
      }),
      gid: t.int({
        nullable: true,
        description:
          'Numeric identifier of the primary group (GID); null if it exceeds 32 bits: see gidNumber.',
        resolve: ({ gid }) => int32OrNull(gid),
      }),
      groups: t.field({
        type: [Group],
        description:
          'Recorded groups whose numeric identifier is within 32 bits, in their order. Also empty if no groups are recorded: see groupsRecorded and allGroups.',
        resolve: ({ groups }) => (groups ?? []).filter(isSmall),
      }),
      groupsRecorded: t.boolean({
        description:
          'Whether the token records the groups of its user. If false, the groups are unknown here, as at sites that look them up in LDAP. If true, an empty list means that the user has no groups.',
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
          'All recorded groups, in their order, with numeric identifiers of any size; null if no groups are recorded.',
        resolve: ({ groups }) => groups,
      }),
    }),
  })

const GROUP_NAME =
  'Name of the group: begins with a letter or digit, and has only A-Z a-z 0-9 . _ - and at least one letter.'

const GroupInput = builder.inputType('GroupInput', {
  description: 'A group that a user belongs to, with a numeric identifier (GID) within 32 bits.',
  fields: (t) => ({
    name: t.string({ required: true, description: GROUP_NAME }),
    id: t.int({ required: true, description: 'Numeric identifier of the group (GID).' }),
  }),
})

const PosixGroupInput = builder.inputType('PosixGroupInput', {
  description: 'A group that a user belongs to, with a numeric identifier (GID) of up to 64 bits.',
  fields: (t) => ({
    name: t.string({ required: true, description: GROUP_NAME }),
    gidNumber: t.field({
      type: BigInteger,
      required: true,
      description: 'Numeric identifier of the group (GID).',
    }),
  }),
})

export const UserInfoInput = builder.inputType('UserInfoInput', {
  description:
    'User information that the token records. A field that is left out is not recorded: a service looks it up elsewhere.',
  fields: (t) => ({
    name: t.string({ description: 'Full name of the user; not empty.' }),
    email: t.string({ description: 'Email address of the user; not empty.' }),
    uid: t.int({ description: 'Numeric user identifier (UID), at least 1.' }),
    gid: t.int({ description: 'Numeric identifier of the primary group (GID), at least 1.' }),
    groups: t.field({
      type: [GroupInput],
      description: 'Groups of the user, in their order; an empty list records that the user has no groups.',
    }),
    uidNumber: t.field({
      type: BigInteger,
      description:
        'Numeric user identifier (UID), for one that exceeds 32 bits. If uid is also given, both must be equal.',
    }),
    gidNumber: t.field({
      type: BigInteger,
      description:
        'Numeric identifier of the primary group (GID), for one that exceeds 32 bits. If gid is also given, both must be equal.',
    }),
    allGroups: t.field({
      type: [PosixGroupInput],
      description:
        'Groups of the user, for identifiers that exceed 32 bits. If groups is also given, it must have those of allGroups within 32 bits, in the same order.',
    }),
  }),
})

/** Returns the input as the services take it: a field that was left out is `null`. */
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
