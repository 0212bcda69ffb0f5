import { type Environment, loadConfig } from '../config/config.ts'
import { assertStoreUsable, openProcess, type ProcessContext } from '../app.ts'
import { systemClock } from '../lib/clock.ts'
import { assertMigrated } from '../stores/migrations/migrations.ts'
import { openDatabase, withSecrets } from './environment.ts'
import { openToolLogger } from './command-logger.ts'

/** The actor of commands: an admin whom the history names `<internal>`, without an address. */
export const OPERATOR = { actor: { kind: 'operator' }, ipAddress: null } as const

/**
 * Runs a command on the stores of the server with this environment, which may be running. Log messages go to standard
 * error.
 */
export async function withContext<T>(
  env: Environment,
  work: (context: ProcessContext) => Promise<T>,
): Promise<T> {
  const log = openToolLogger(env)
  const database = await openDatabase(env, log, { join: true, mustExist: true })
  try {
    const settings = { ...(await withSecrets(env)), DATABASE_URL: database.url }
    // A command reads hardly any record twice.
    const config = { ...loadConfig(settings), trackedCopies: false }
    await assertMigrated(database.url)
    await assertStoreUsable(config)
    const context = openProcess(config, { clock: systemClock, log })
    try {
      return await work(context)
    } finally {
      await context.close()
    }
  } finally {
    await database.close()
  }
}
