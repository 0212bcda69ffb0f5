import { type Environment, loadConfig } from '../../config/config.ts'
import { generateFernetKey } from '../../lib/fernet.ts'
import { migrate } from '../../stores/migrations/migrations.ts'
import { openCommandLogger } from '../command-logger.ts'
import { openDatabase } from '../environment.ts'
import { print } from '../output.ts'

/** Applies the pending migrations and prints their names. */
export async function migrateDatabase(env: Environment): Promise<void> {
  // A migration needs no secrets, so missing ones are not required.
  const settings = { SESSION_SECRET: generateFernetKey(), BOOTSTRAP_TOKEN: 'none', ...env }
  const log = openCommandLogger(settings)
  const database = await openDatabase(settings, log, { join: true })
  try {
    const { databaseUrl } = loadConfig({ ...settings, DATABASE_URL: database.url })
    const { applied, baselined } = await migrate(databaseUrl.reveal(), { log })
    const done = [...baselined.map((name) => `${name} (already present)`), ...applied]
    print(done.length > 0 ? `Applied ${done.join(', ')}.` : 'The database is up to date.')
  } finally {
    await database.close()
  }
}
