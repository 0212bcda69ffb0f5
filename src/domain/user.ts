import { PorthorError } from './errors.ts'
import { type Group, holdsBearerString, type NumericId, type UserInfo } from './token.ts'

const USERNAME = /^[a-z0-9]+(-[a-z0-9]+)*$/
// A letter with a letter or digit before it keeps out `1-a` and the like, which look like numbers.
const HAS_WORD = /[a-z0-9][a-z]/
const BOT_USERNAME = /^bot-[a-z0-9]+(-[a-z0-9]+)*$/
const LONGEST_USERNAME = 64

/** Whether `username` is one a token may be made for. */
export const isUsername = (username: string): boolean =>
  username.length <= LONGEST_USERNAME && USERNAME.test(username) && HAS_WORD.test(username)

/** @throws {PorthorError} `INVALID_USERNAME` */
export function requireUsername(username: string): void {
  if (isUsername(username)) return
  throw new PorthorError(
    'INVALID_USERNAME',
    'username must be 2 to 64 lower-case letters, digits and single inner hyphens, with two characters in a row of which the second is a letter.',
  )
}

/** @throws {PorthorError} `INVALID_USERNAME`, for one that does not begin with `bot-`. */
export function requireBotUsername(username: string): void {
  requireUsername(username)
  if (BOT_USERNAME.test(username)) return
  throw new PorthorError('INVALID_USERNAME', 'the username of a service token must begin with "bot-".')
}

const LONGEST_TOKEN_NAME = 64

/** PostgreSQL keeps no NUL in a text, and UTF-8 has no form for half a surrogate pair. */
const UNSTORABLE = /[\0\p{Surrogate}]/u

/**
 * Control and format characters, line ends of Unicode among them: whoever reads a list of tokens in a terminal or a
 * browser would see another name than the one that is stored.
 */
const INVISIBLE = /[\p{Control}\p{Format}\p{Surrogate}\p{Line_Separator}\p{Paragraph_Separator}]/u

/** @throws {PorthorError} `INVALID_TOKEN_NAME` */
export function requireTokenName(tokenName: string): void {
  const length = [...tokenName].length
  const isLong = length > LONGEST_TOKEN_NAME
  if (length >= 1 && !isLong && !INVISIBLE.test(tokenName) && !holdsBearerString(tokenName)) return
  throw new PorthorError(
    'INVALID_TOKEN_NAME',
    `tokenName must be 1 to ${LONGEST_TOKEN_NAME} characters, none of them a control or format character, and not hold a token.`,
  )
}

/** The user has a token of that name already. */
export const duplicateTokenName = (tokenName: string): PorthorError =>
  new PorthorError(
    'DUPLICATE_TOKEN_NAME',
    `There is a token named ${JSON.stringify(tokenName)} already: choose another name.`,
  )

/** Longest name, e-mail address and group name of a user, in characters: every child carries them all. */
const LONGEST_INFO = 256

const isInfoText = (text: string): boolean =>
  text !== '' && [...text].length <= LONGEST_INFO && !UNSTORABLE.test(text)

const INFO_RULE = `must be 1 to ${LONGEST_INFO} characters, none of them NUL or half of a surrogate pair`

const GROUP_NAME = /^[A-Za-z0-9][\w.-]*$/
const HAS_LETTER = /[A-Za-z]/

/** Whether `name` is one that a group may have. */
export const isGroupName = (name: string): boolean => GROUP_NAME.test(name) && HAS_LETTER.test(name)

/**
 * @throws {PorthorError} `INVALID_USER_INFO`, naming every field at fault.
 */
export function requireUserInfo({ name, email, uid, gid, groups }: UserInfo): void {
  const faults = [
    ...(name !== null && !isInfoText(name) ? [`name ${INFO_RULE}`] : []),
    ...(email !== null && !isInfoText(email) ? [`email ${INFO_RULE}`] : []),
    ...(uid !== null && uid < 1 ? ['uid must be at least 1'] : []),
    ...(gid !== null && gid < 1 ? ['gid must be at least 1'] : []),
    ...(groups ?? []).flatMap((group, index) =>
      isGroupName(group.name) && group.name.length <= LONGEST_INFO
        ? []
        : [
            `groups.${index}.name must begin with a letter or digit, hold only A-Z a-z 0-9 . _ - and at least one letter, and be ${LONGEST_INFO} characters at most`,
          ],
    ),
  ]
  if (faults.length > 0) throw new PorthorError('INVALID_USER_INFO', `userInfo: ${faults.join('; ')}.`)
}

/** Whether `id` fits the type `Int` of GraphQL, a signed integer of 32 bits. */
export const isInt32 = (id: NumericId): id is number => typeof id === 'number' && id === (id | 0)

/** What a client states about a user: the first three numbers within 32 bits, the others of any size. */
export interface StatedUserInfo extends UserInfo {
  readonly uidNumber: NumericId | null
  readonly gidNumber: NumericId | null
  readonly allGroups: readonly Group[] | null
}

/**
 * The user information in what a client stated. What is stated twice must agree, as in an API response, whose
 * short fields leave out what does not fit them.
 *
 * @throws {PorthorError} `INVALID_USER_INFO`, naming every pair of fields that disagrees.
 */
export function resolveUserInfo(stated: StatedUserInfo): UserInfo {
  const { name, email, uid, gid, groups, uidNumber, gidNumber, allGroups } = stated
  const faults = [
    ...(areDifferent(uid, uidNumber) ? ['uid and uidNumber must be equal where both are given'] : []),
    ...(areDifferent(gid, gidNumber) ? ['gid and gidNumber must be equal where both are given'] : []),
    ...(groups &&
    allGroups &&
    !areSameGroups(
      groups,
      allGroups.filter(({ id }) => isInt32(id)),
    )
      ? ['groups must be those of allGroups whose gidNumber is within 32 bits, in the same order']
      : []),
  ]
  if (faults.length > 0) throw new PorthorError('INVALID_USER_INFO', `userInfo: ${faults.join('; ')}.`)
  return { name, email, uid: uidNumber ?? uid, gid: gidNumber ?? gid, groups: allGroups ?? groups }
}

const areDifferent = (one: NumericId | null, other: NumericId | null): boolean =>
  one !== null && other !== null && one !== other

const areSameGroups = (groups: readonly Group[], others: readonly Group[]): boolean =>
  groups.length === others.length &&
  groups.every(({ name, id }, index) => name === others[index]?.name && id === others[index]?.id)
