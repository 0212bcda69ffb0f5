import { type Environment, loadConfig } from '../config.ts'
import { assertStoreUsable, openProcess, type ProcessContext } from '../context.ts'
import { systemClock } from '../lib/clock.ts'
import { assertMigrated } from '../stores/migrations.ts'
import { openDatabase, withSecrets } from './environment.ts'
import { openToolLogger } from './tool-logger.ts'

/** Who commands are run by: an admin whom history knows as `<internal>`, at no address. */
export const OPERATOR = { actor: { kind: 'operator' }, ipAddress: null } as const

/**
 * Runs a command on the stores that the server of this environment uses, beside it if it is running.
 * Standard output is the command's; what is logged goes to standard error, from warnings up unless
 * LOG_LEVEL says otherwise.
 */
export async function withContext<T>(
  env: Environment,
  work: (context: ProcessContext) => Promise<T>,
): Promise<T> {
  const log = openToolLogger(env)
  const database = await openDatabase(env, log, { join: true, mustExist: true })
  try {
    const settings = { ...(await withSecrets(env)), DATABASE_URL: database.url }
    // A command asks for hardly anything twice.
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
