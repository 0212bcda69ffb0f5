import { Argument, type Command, InvalidArgumentError, Option } from 'commander'
import type { Environment } from '../config.ts'
import { addSeconds } from '../domain/lifetime.ts'
import { holdsBearerString, TOKEN_TYPES } from '../domain/token.ts'
import { systemClock } from '../lib/clock.ts'
import { parseDuration } from '../lib/duration.ts'
import type { CreatableType, CreateFlags, JsonFlag, ListFlags, RevokeFlags } from './token-work.ts'

const CREATABLE_TYPES: readonly CreatableType[] = ['session', 'user', 'service']

/** What does the work, and takes its time to load: not needed to tell what there is. */
const work = () => import('./token-work.ts')

/** Adds `token`: tokens for the operator at the machine, by the services that the API uses too. */
export function addTokenCommands(program: Command, env: Environment): void {
  const token = program.command('token').description('create, list, show and revoke tokens')
  const typeOption = () => new Option('--type <type>', 'only tokens of this type').choices(TOKEN_TYPES)
  const jsonOption = () => new Option('--json', 'print JSON, an object a line')

  token
    .command('create')
    .description('create a token, and print its bearer string')
    .usage('<type> <username> [options]')
    .addArgument(new Argument('<type>', 'which kind of token').choices(CREATABLE_TYPES))
    .argument('<username>', 'whose token; that of a service begins with bot-')
    .option('--scope <scope...>', 'what it shall allow', [])
    .option('--name <name>', 'name of a user token')
    .option('--expires <when>', 'a time such as 2026-01-31T12:00:00Z, or a duration such as 30d', parseAhead)
    .addOption(jsonOption())
    .action(async (type: CreatableType, username: string, flags: CreateFlags) =>
      (await work()).create(env, type, username, flags),
    )

  token
    .command('list')
    .description('list tokens, newest first')
    .option('--username <username>', 'only tokens of this user')
    .addOption(typeOption())
    .option('--limit <number>', 'how many at the most', parseCount, 50)
    .addOption(jsonOption())
    .action(async (flags: ListFlags) => (await work()).list(env, flags))

  token
    .command('show')
    .description('show a token, its parent, its children and its history')
    .allowUnknownOption()
    .argument('<key>', 'public half of the token', parseKey)
    .addOption(jsonOption())
    .action(async (key: string, flags: JsonFlag) => (await work()).show(env, key, flags))

  token
    .command('revoke')
    .description('revoke a token, or all that match, each with everything below it')
    .allowUnknownOption()
    .argument('[key]', 'public half of the token', parseKey)
    .option('--username <username>', 'tokens of this user')
    .option('--service <service>', 'tokens lent to this service')
    .addOption(typeOption())
    .option('--ancestor <key>', 'tokens below this one', parseKey)
    .option('--created-before <when>', 'tokens made before this time, or longer ago than 30d', parseAgo)
    .option('--dry-run', 'only count what would be revoked')
    .addOption(jsonOption())
    .action(async (key: string | undefined, flags: RevokeFlags) => (await work()).revoke(env, key, flags))
}

const parseAhead = (text: string): Date => parseTime(text, 1)
const parseAgo = (text: string): Date => parseTime(text, -1)

const ISO = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?)?$/

/** Reads ISO 8601, in UTC where it does not say, unlike `Date`, which also reads much that is no time. */
function parseIso(text: string): Date {
  const [isIso, time, , , zone] = ISO.exec(text) ?? []
  if (!isIso) return new Date(Number.NaN)
  return new Date(time && !zone ? `${text}Z` : text)
}

/** Reads a time, or a duration from now: ahead where `sign` is 1, back where it is -1. */
function parseTime(text: string, sign: 1 | -1): Date {
  const seconds = parseDuration(text)
  const time = seconds === undefined ? parseIso(text) : addSeconds(systemClock.now(), sign * seconds)
  if (!Number.isNaN(time.getTime())) return time
  throw new InvalidArgumentError('Give a time such as 2026-01-31T12:00:00Z, or a duration such as 30d.')
}

/** Reads a key, which may begin as an option does: such are let through to here. */
function parseKey(text: string): string {
  if (!holdsBearerString(text) && /^([^-]|[\w-]{22}$|$)/.test(text)) return text
  throw new InvalidArgumentError('Give its key: the 22 characters between gt- and the dot.')
}

function parseCount(text: string): number {
  const count = Number(text)
  if (Number.isInteger(count) && count >= 1 && count <= 500) return count
  throw new InvalidArgumentError('Give a whole number from 1 to 500.')
}
