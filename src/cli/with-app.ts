import type { App } from '../app.ts'
import { type Environment, loadConfig } from '../config/config.ts'
import { systemClock } from '../lib/clock.ts'
import { assertMigrated } from '../stores/migrations/migrations.ts'
import { openCommandLogger } from './command-logger.ts'
import { openDatabase, withSecrets } from './environment.ts'
import { openUsableApp } from './open-usable-app.ts'

/** The actor of commands: an admin whom the history names `<internal>`, without an address. */
export const OPERATOR = { actor: { kind: 'operator' }, ipAddress: null } as const

/**
 * Runs a command on the stores of the server with this environment, which may be running. Log messages go to standard
 * error.
 */
export async function withApp<T>(env: Environment, work: (context: App) => Promise<T>): Promise<T> {
  const log = openCommandLogger(env)
  const database = await openDatabase(env, log, { join: true, mustExist: true })
  try {
    const settings = { ...(await withSecrets(env)), DATABASE_URL: database.url }
    // A command reads hardly any record twice.
    const config = { ...loadConfig(settings), clientSideCache: false }
    await assertMigrated(config.databaseUrl.reveal())
    const context = await openUsableApp(config, { clock: systemClock, log })
    try {
      return await work(context)
    } finally {
      await context.close()
    }
  } finally {
    await database.close()
  }
}
