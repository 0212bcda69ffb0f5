import { Argument, type Command, InvalidArgumentError, Option } from 'commander'
import type { Environment } from '../../config/config.ts'
import { addSeconds } from '../../domain/lifetime.ts'
import { holdsBearerString, TOKEN_TYPES } from '../../domain/token.ts'
import { systemClock } from '../../lib/clock.ts'
import { parseDuration } from '../../lib/duration.ts'
import type { CreatableType, CreateFlags, JsonFlag, ListFlags, RevokeFlags } from './token-actions.ts'

const CREATABLE_TYPES: readonly CreatableType[] = ['session', 'user', 'service']

/** Loads the implementation, which takes time and is not needed for the help. */
const work = () => import('./token-actions.ts')

/** Adds the command `token`, for the operator at the machine. It uses the services of the API. */
export function addTokenCommands(program: Command, env: Environment): void {
  const token = program
    .command('token')
    .description('Create, list, show and revoke tokens, with the rights of an admin.')
  const typeOption = () => new Option('--type <type>', 'Only tokens of this type.').choices(TOKEN_TYPES)
  const jsonOption = () => new Option('--json', 'Print JSON, one object per line.')

  token
    .command('create')
    .description('Create a token and print its bearer string.')
    .usage('<type> <username> [options]')
    .addArgument(new Argument('<type>', 'Type of the token.').choices(CREATABLE_TYPES))
    .argument('<username>', 'User of the token. The username of a service token begins with bot-.')
    .option('--scope <scope...>', 'Scopes of the token.', [])
    .option('--name <name>', 'Name of a user token. Required for user tokens only.')
    .option(
      '--expires <when>',
      'Expiry: a time such as 2026-01-31T12:00:00Z, or a duration from now such as 30d.',
      parseFuture,
    )
    .addOption(jsonOption())
    .action(async (type: CreatableType, username: string, flags: CreateFlags) =>
      (await work()).create(env, type, username, flags),
    )

  token
    .command('list')
    .description('List tokens, newest first.')
    .option('--username <username>', 'Only tokens of this user.')
    .addOption(typeOption())
    .option('--limit <number>', 'Maximum number of tokens.', parseCount, 50)
    .addOption(jsonOption())
    .action(async (flags: ListFlags) => (await work()).list(env, flags))

  token
    .command('show')
    .description('Show a token, its parent, its children and its history.')
    .allowUnknownOption()
    .argument('<key>', 'Token key: the 22 characters between gt- and the dot.', parseKey)
    .addOption(jsonOption())
    .action(async (key: string, flags: JsonFlag) => (await work()).show(env, key, flags))

  token
    .command('revoke')
    .description('Revoke a token, or all tokens that match, each with all tokens delegated from it.')
    .allowUnknownOption()
    .argument('[key]', 'Token key: the 22 characters between gt- and the dot.', parseKey)
    .option('--username <username>', 'Tokens of this user.')
    .option('--service <service>', 'Tokens delegated to this service.')
    .addOption(typeOption())
    .option(
      '--ancestor <key>',
      'Tokens delegated from the token with this key, directly or indirectly.',
      parseKey,
    )
    .option(
      '--created-before <when>',
      'Tokens created before this time, or more than a duration such as 30d ago.',
      parsePast,
    )
    .option('--dry-run', 'Only count the tokens that would be revoked.')
    .addOption(jsonOption())
    .action(async (key: string | undefined, flags: RevokeFlags) => (await work()).revoke(env, key, flags))
}

const parseFuture = (text: string): Date => parseTime(text, 1)
const parsePast = (text: string): Date => parseTime(text, -1)

const ISO = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?)?$/

/** Parses ISO 8601, in UTC where no zone is given. `Date` also accepts text that is not ISO 8601. */
function parseIso(text: string): Date {
  const [isIso, time, , , zone] = ISO.exec(text) ?? []
  if (!isIso) return new Date(Number.NaN)
  return new Date(time && !zone ? `${text}Z` : text)
}

/** Parses a time, or a duration from now: in the future where `sign` is 1, in the past where it is -1. */
function parseTime(text: string, sign: 1 | -1): Date {
  const seconds = parseDuration(text)
  const time = seconds === undefined ? parseIso(text) : addSeconds(systemClock.now(), sign * seconds)
  if (!Number.isNaN(time.getTime())) return time
  throw new InvalidArgumentError('Give a time such as 2026-01-31T12:00:00Z, or a duration such as 30d.')
}

/** Parses a token key. It may begin with a dash, so that the command accepts unknown options. */
function parseKey(text: string): string {
  if (!holdsBearerString(text) && /^([^-]|[\w-]{22}$|$)/.test(text)) return text
  throw new InvalidArgumentError('Give a token key: the 22 characters between gt- and the dot.')
}

function parseCount(text: string): number {
  const count = Number(text)
  if (Number.isInteger(count) && count >= 1 && count <= 500) return count
  throw new InvalidArgumentError('Give a whole number from 1 to 500.')
}
