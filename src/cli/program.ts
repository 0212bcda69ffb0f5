import { Command, CommanderError } from 'commander'
import type { Environment } from '../config.ts'
import { ConfigError } from '../config-error.ts'
import { UnavailableError } from '../domain/errors.ts'
import { formatToken, generateToken, redact } from '../domain/token.ts'
import { generateFernetKey } from '../lib/fernet.ts'
import { trimSecrets } from '../secret-config.ts'
import type { AuditFlags } from './audit.ts'
import { note, print } from './output.ts'
import { addTokenCommands } from './token.ts'
import { UsageError } from './usage-error.ts'
import { packageVersion } from './version.ts'

/**
 * Runs the command that `argv` names.
 *
 * @returns The exit code. Faults are told in one line on standard error, with no stack.
 */
export async function run(argv: readonly string[], env: Environment): Promise<number> {
  const outcome: Outcome = { code: 0, codeOfFailure: 1 }
  process.stdout.off('error', ignoreClosedPipe).on('error', ignoreClosedPipe)
  try {
    await createProgram(trimSecrets(env), outcome).parseAsync(argv)
    return outcome.code
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : USAGE_FAULT
    note(redact(tell(error)))
    return error instanceof UsageError ? USAGE_FAULT : outcome.codeOfFailure
  }
}

/** A reader that has seen enough, such as `head`, is no fault: the command goes on to its end. */
function ignoreClosedPipe(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EPIPE') throw error
}

/** How a command ended, and what the exit code is if it throws. */
interface Outcome {
  code: number
  codeOfFailure: number
}

/** Exit code for arguments that a command does not take; apart from 1, which tells of findings or a failure. */
const USAGE_FAULT = 2

/** Exit code of an audit that could not run; 1 says that it ran and has findings left. */
const COULD_NOT_AUDIT = 2

/** The commands. Each loads what it needs when it is run: much of it takes its time. */
function createProgram(env: Environment, outcome: Outcome): Command {
  const program = new Command('porthor')
    .description('Issues, caches and reuses delegated tokens, over GraphQL.')
    .version(packageVersion())
    .exitOverride()
    .enablePositionalOptions()
    .showHelpAfterError()
    .configureOutput({ outputError: (text, write) => write(redact(text)) })
    .addHelpText('after', '\nEvery setting is an environment variable: see the table in the README.')

  program
    .command('serve')
    .description('run the server; without DATABASE_URL, on an embedded PostgreSQL under DATA_DIR')
    .action(async () => (await import('./serve.ts')).serve(env))
  program
    .command('migrate')
    .description(
      'bring the database up to date, that of DATABASE_URL or the embedded one; safe to run anywhere at any time',
    )
    .action(async () => (await import('./migrate.ts')).migrateDatabase(env))
  program
    .command('maintenance')
    .description('remove expired tokens and old history; safe to run anywhere at any time')
    .option('--json', 'print the counts as JSON')
    .action(async (flags: { json?: boolean }) => (await import('./maintenance.ts')).maintain(env, flags))
  program
    .command('audit')
    .description(
      'find where the stores disagree: exits with 0 when clean, 1 with findings left, 2 if it could not run',
    )
    .option('--fix', 'fix what can be fixed; what cannot be read is kept')
    .option('--delete-unreadable', 'with --fix: also delete records that cannot be read')
    .option('--json', 'print a JSON object for each finding')
    .action(async (flags: AuditFlags) => {
      outcome.codeOfFailure = COULD_NOT_AUDIT
      const { audit } = await import('./audit.ts')
      outcome.code = await audit(env, flags)
    })
  addTokenCommands(program, env)
  program
    .command('generate-secret')
    .description('print a new key for SESSION_SECRET')
    .action(() => print(generateFernetKey()))
  program
    .command('generate-token')
    .description('print a new token for BOOTSTRAP_TOKEN')
    .action(() => print(formatToken(generateToken())))
  return program
}

interface SystemError extends NodeJS.ErrnoException {
  readonly hostname?: string
  readonly address?: string
  readonly port?: number
}

function tell(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  if (error instanceof UnavailableError) return `${describeOutage(error)} Please try again.`
  const { code, syscall, hostname, address, port } = error as SystemError
  if (syscall === 'getaddrinfo' && hostname !== undefined)
    return `${hostname} is the name of no machine that is known here: set HOST to an address of this one, or to 0.0.0.0 for all.`
  if (code === 'EADDRNOTAVAIL')
    return `${address} is no address of this machine: set HOST to one, or to 0.0.0.0 for all.`
  if (code === 'EACCES' && port !== undefined)
    return `${address}:${port} is not allowed: set PORT to 1024 or above.`
  if (code === 'EADDRINUSE') return `${address}:${port} is in use: set PORT to a free one (0 picks one).`
  if (error instanceof ConfigError) return error.message
  const lines = error.message.split('\n').filter(Boolean)
  // Prisma begins with which of its functions it was, and ends with what was wrong.
  return (error.name.startsWith('PrismaClient') ? lines.at(-1) : lines[0]) ?? error.name
}

/** Which store it was, and for what reason where that is a code: whole messages may quote anything. */
function describeOutage({ store, cause }: UnavailableError): string {
  const { code } = (cause ?? {}) as { readonly code?: unknown }
  const reason = typeof code === 'string' ? ` (${code})` : ''
  return `${store === 'redis' ? 'Redis' : 'PostgreSQL'} did not answer${reason}.`
}
