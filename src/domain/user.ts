import { type ErrorFacts, MAX_LISTED, PorthorError } from './errors.ts'
import { type Group, holdsBearerString, type NumericId, type UserInfo } from './token.ts'

// The look-ahead requires a letter right after a letter or digit: it excludes `1-a` and the like.
const USERNAME = /^(?=.*[a-z0-9][a-z])[a-z0-9]+(-[a-z0-9]+)*$/
const BOT_USERNAME = /^bot-[a-z0-9]+(-[a-z0-9]+)*$/
const MAX_USERNAME_LENGTH = 64

const MIN_USERNAME_LENGTH = 2

/** Whether a token may be issued for `username`. */
export const isUsername = (username: string): boolean =>
  username.length <= MAX_USERNAME_LENGTH && USERNAME.test(username)

const usernameFacts = (pattern: RegExp): ErrorFacts => ({
  minimum: MIN_USERNAME_LENGTH,
  maximum: MAX_USERNAME_LENGTH,
  pattern: pattern.source,
})

/** @throws {PorthorError} `INVALID_USERNAME` */
export function requireUsername(username: string): void {
  if (isUsername(username)) return
  throw new PorthorError(
    'INVALID_USERNAME',
    `username must be ${MIN_USERNAME_LENGTH} to ${MAX_USERNAME_LENGTH} lower-case letters, digits and single inner hyphens, with a letter right after another letter or digit.`,
    { facts: usernameFacts(USERNAME) },
  )
}

/** Whether `username` is a valid one of a service token. */
export const isBotUsername = (username: string): boolean =>
  isUsername(username) && BOT_USERNAME.test(username)

/** @throws {PorthorError} `INVALID_USERNAME`, for one that does not begin with `bot-`. */
export function requireBotUsername(username: string): void {
  requireUsername(username)
  if (isBotUsername(username)) return
  throw new PorthorError('INVALID_USERNAME', 'username of a service token must begin with "bot-".', {
    facts: usernameFacts(BOT_USERNAME),
  })
}

const MAX_TOKEN_NAME_LENGTH = 64

/** PostgreSQL stores no NUL in a text, and UTF-8 cannot encode half of a surrogate pair. */
const UNSTORABLE = /[\0\p{Surrogate}]/u

/** Control and format characters and line ends: with them, a terminal or browser shows another name than the stored one. */
const INVISIBLE = /[\p{Control}\p{Format}\p{Surrogate}\p{Line_Separator}\p{Paragraph_Separator}]/u

/** @throws {PorthorError} `INVALID_TOKEN_NAME` */
export function requireTokenName(tokenName: string): void {
  const length = [...tokenName].length
  const isLong = length > MAX_TOKEN_NAME_LENGTH
  if (length >= 1 && !isLong && !INVISIBLE.test(tokenName) && !holdsBearerString(tokenName)) return
  throw new PorthorError(
    'INVALID_TOKEN_NAME',
    `tokenName must be 1 to ${MAX_TOKEN_NAME_LENGTH} characters without control and format characters, and must not contain a token.`,
    { facts: { minimum: 1, maximum: MAX_TOKEN_NAME_LENGTH } },
  )
}

/** The user has another token of that name. */
export const duplicateTokenName = (tokenName: string): PorthorError =>
  new PorthorError(
    'DUPLICATE_TOKEN_NAME',
    `The user already has a token named ${JSON.stringify(tokenName)}: choose another tokenName.`,
  )

/** Longest name, e-mail address and group name of a user, in characters: every child records them all. */
const MAX_INFO_LENGTH = 256

const isInfoText = (text: string): boolean =>
  text !== '' && [...text].length <= MAX_INFO_LENGTH && !UNSTORABLE.test(text)

const INFO_RULE = `must be 1 to ${MAX_INFO_LENGTH} characters without NUL and halves of surrogate pairs`

const ID_RULE = 'must be at least 1'

const GROUP_RULE = `must begin with a letter or digit, hold only A-Z a-z 0-9 . _ - and at least one letter, and have at most ${MAX_INFO_LENGTH} characters`

/** A field of user information, and what it must be. */
interface Problem {
  readonly field: string
  readonly rule: string
}

function refuseUserInfo(problems: readonly Problem[]): void {
  if (problems.length === 0) return
  const texts = problems.map(({ field, rule }) => `${field} ${rule}`)
  throw new PorthorError('INVALID_USER_INFO', `userInfo: ${texts.join('; ')}.`, {
    facts: { fields: problems.slice(0, MAX_LISTED).map(({ field }) => field) },
  })
}

const GROUP_NAME = /^[A-Za-z0-9][\w.-]*$/
const HAS_LETTER = /[A-Za-z]/

/** Whether `name` is a valid name of a group. */
export const isGroupName = (name: string): boolean => GROUP_NAME.test(name) && HAS_LETTER.test(name)

/**
 * @throws {PorthorError} `INVALID_USER_INFO`, naming every field that is not valid.
 */
export function requireUserInfo({ name, email, uid, gid, groups }: UserInfo): void {
  refuseUserInfo([
    ...(name !== null && !isInfoText(name) ? [{ field: 'name', rule: INFO_RULE }] : []),
    ...(email !== null && !isInfoText(email) ? [{ field: 'email', rule: INFO_RULE }] : []),
    ...(uid !== null && uid < 1 ? [{ field: 'uid', rule: ID_RULE }] : []),
    ...(gid !== null && gid < 1 ? [{ field: 'gid', rule: ID_RULE }] : []),
    ...(groups ?? []).flatMap((group, index) =>
      isGroupName(group.name) && group.name.length <= MAX_INFO_LENGTH
        ? []
        : [{ field: `groups.${index}.name`, rule: GROUP_RULE }],
    ),
  ])
}

/** Whether `id` fits the type `Int` of GraphQL, a signed integer of 32 bits. */
export const isInt32 = (id: NumericId): id is number => typeof id === 'number' && id === (id | 0)

/** User information as a client sends it: `uid`, `gid` and `groups` with numbers within 32 bits, the others of any size. */
export interface StatedUserInfo extends UserInfo {
  readonly uidNumber: NumericId | null
  readonly gidNumber: NumericId | null
  readonly allGroups: readonly Group[] | null
}

/**
 * Returns the user information that a client sent. A value in both of its fields must agree, as in an API response,
 * where the short field leaves out what does not fit.
 *
 * @throws {PorthorError} `INVALID_USER_INFO`, naming every pair of fields that disagrees.
 */
export function resolveUserInfo(stated: StatedUserInfo): UserInfo {
  const { name, email, uid, gid, groups, uidNumber, gidNumber, allGroups } = stated
  refuseUserInfo([
    ...(areDifferent(uid, uidNumber) ? [{ field: 'uid', rule: 'and uidNumber must be equal' }] : []),
    ...(areDifferent(gid, gidNumber) ? [{ field: 'gid', rule: 'and gidNumber must be equal' }] : []),
    ...(groups &&
    allGroups &&
    !areSameGroups(
      groups,
      allGroups.filter(({ id }) => isInt32(id)),
    )
      ? [
          {
            field: 'groups',
            rule: 'must be those of allGroups whose gidNumber is within 32 bits, in the same order',
          },
        ]
      : []),
  ])
  return { name, email, uid: uidNumber ?? uid, gid: gidNumber ?? gid, groups: allGroups ?? groups }
}

const areDifferent = (one: NumericId | null, other: NumericId | null): boolean =>
  one !== null && other !== null && one !== other

const areSameGroups = (groups: readonly Group[], others: readonly Group[]): boolean =>
  groups.length === others.length &&
  groups.every(({ name, id }, index) => name === others[index]?.name && id === others[index]?.id)
