import { Command, CommanderError } from 'commander'
import { type Environment, settingsIn } from '../config/config.ts'
import { ConfigError } from '../config/config-error.ts'
import { UnavailableError } from '../domain/errors.ts'
import { formatToken, generateToken, redact } from '../domain/token.ts'
import { generateFernetKey } from '../lib/fernet.ts'
import type { AuditFlags } from './commands/audit.ts'
import { addTokenCommands } from './commands/token.ts'
import type { JsonFlag } from './commands/token-actions.ts'
import { note, print } from './output.ts'
import { UsageError } from './usage-error.ts'
import { packageVersion } from './version.ts'

/**
 * Runs the command that `argv` names.
 *
 * @returns The exit code. An error is printed in one line on standard error, without its stack.
 */
export async function run(argv: readonly string[], env: Environment): Promise<number> {
  const outcome: Outcome = { code: 0, codeOfFailure: 1 }
  process.stdout.off('error', ignoreClosedPipe).on('error', ignoreClosedPipe)
  try {
    await createProgram(settingsIn(env), outcome).parseAsync(argv)
    return outcome.code
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : USAGE_ERROR
    note(redact(describeError(error)))
    return error instanceof UsageError ? USAGE_ERROR : outcome.codeOfFailure
  }
}

/** A reader that closes the pipe, such as `head`, is not an error: the command continues to its end. */
function ignoreClosedPipe(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EPIPE') throw error
}

/** The exit code of a command, and the exit code if it throws. */
interface Outcome {
  code: number
  codeOfFailure: number
}

/** Exit code for invalid arguments; differs from 1, which means findings or a failure. */
const USAGE_ERROR = 2

/** Exit code of an audit that could not run; 1 means that it ran and findings are left. */
const COULD_NOT_AUDIT = 2

/** Creates the commands. Each loads its modules when it runs: loading those of all commands is slow. */
function createProgram(env: Environment, outcome: Outcome): Command {
  const program = new Command('porthor')
    .description('Issues, caches and reuses delegated tokens on behalf of users, over GraphQL.')
    .version(packageVersion(), '-V, --version', 'Print the version.')
    .helpOption('-h, --help', 'Show this help.')
    .helpCommand('help [command]', 'Show the help of a command.')
    .exitOverride()
    .enablePositionalOptions()
    .showHelpAfterError()
    .configureOutput({ outputError: (text, write) => write(redact(text)) })
    .addHelpText(
      'after',
      `
Settings are environment variables: see the table in the README. The command config prints and checks them.

Exit codes: 0 success; 1 failure, or findings left by audit; 2 invalid arguments, or an audit that could not run.`,
    )

  program
    .command('serve')
    .description('Run the server. Without DATABASE_URL, it uses an embedded PostgreSQL in DATA_DIR.')
    .action(async () => (await import('./commands/serve.ts')).serve(env))
  program
    .command('config')
    .description('Check the settings, and print those in effect, with secrets masked.')
    .option('--json', 'Print one JSON object.')
    .action(async (flags: JsonFlag) => (await import('./commands/config.ts')).printConfig(env, flags))
  program
    .command('migrate')
    .description('Apply pending migrations to the database. Safe to run on any machine at any time.')
    .action(async () => (await import('./commands/migrate.ts')).migrateDatabase(env))
  program
    .command('maintenance')
    .description('Remove expired tokens and old history. Safe to run on any machine at any time.')
    .option('--json', 'Print the counts as JSON.')
    .action(async (flags: { json?: boolean }) =>
      (await import('./commands/maintenance.ts')).maintain(env, flags),
    )
  program
    .command('audit')
    .description(
      'Compare the token store with the token database. Exit codes: 0 the stores agree, 1 findings are left, 2 it could not run.',
    )
    .option('--fix', 'Fix the findings that can be fixed. Records that cannot be read are kept.')
    .option('--delete-unreadable', 'With --fix, also delete the records that cannot be read.')
    .option('--json', 'Print each finding as a JSON object on its own line.')
    .action(async (flags: AuditFlags) => {
      outcome.codeOfFailure = COULD_NOT_AUDIT
      const { audit } = await import('./commands/audit.ts')
      outcome.code = await audit(env, flags)
    })
  addTokenCommands(program, env)
  program
    .command('generate-secret')
    .description('Print a new encryption key for SESSION_SECRET.')
    .action(() => print(generateFernetKey()))
  program
    .command('generate-token')
    .description('Print a new token for BOOTSTRAP_TOKEN.')
    .action(() => print(formatToken(generateToken())))
  return program
}

interface SystemError extends NodeJS.ErrnoException {
  readonly hostname?: string
  readonly address?: string
  readonly port?: number
}

function describeError(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  if (error instanceof UnavailableError) return `${describeOutage(error)} Please try again.`
  const { code, syscall, hostname, address, port } = error as SystemError
  if (syscall === 'getaddrinfo' && hostname !== undefined)
    return `The host name ${hostname} cannot be resolved: set HOST to an address of this machine, or to 0.0.0.0 for all addresses.`
  if (code === 'EADDRNOTAVAIL')
    return `${address} is not an address of this machine: set HOST to one that is, or to 0.0.0.0 for all addresses.`
  if (code === 'EACCES' && port !== undefined)
    return `No permission to listen on ${address}:${port}: set PORT to 1024 or above.`
  if (code === 'EADDRINUSE') return `${address}:${port} is in use: set PORT to a free port (0 selects one).`
  if (error instanceof ConfigError) return error.message
  const lines = error.message.split('\n').filter(Boolean)
  // The first line of a Prisma error names the function, the last one the cause.
  return (error.name.startsWith('PrismaClient') ? lines.at(-1) : lines[0]) ?? error.name
}

/** Names the store, and the reason if it is a code: a whole message may quote any value. */
function describeOutage({ store, cause }: UnavailableError): string {
  const { code } = (cause ?? {}) as { readonly code?: unknown }
  const reason = typeof code === 'string' ? ` (${code})` : ''
  return `${store === 'redis' ? 'Redis' : 'PostgreSQL'} is unavailable${reason}.`
}
