import type { Environment } from '../../config/config.ts'
import { generateFernetKey } from '../../lib/fernet.ts'
import { migrate } from '../../stores/migrations/migrations.ts'
import { openCommandLogger } from '../command-logger.ts'
import { openDatabase } from '../environment.ts'
import { print } from '../output.ts'

/** Applies the pending migrations and prints their names. */
export async function migrateDatabase(env: Environment): Promise<void> {
  // A migration needs no secrets, so missing ones are not required.
  const SESSION_SECRET = env.SESSION_SECRET || generateFernetKey()
  const BOOTSTRAP_TOKEN = env.BOOTSTRAP_TOKEN || 'none'
  const log = openCommandLogger({ ...env, SESSION_SECRET, BOOTSTRAP_TOKEN })
  const database = await openDatabase({ ...env, SESSION_SECRET }, log, { join: true })
  try {
    const { applied, baselined } = await migrate(database.url, { log })
    const done = [...baselined.map((name) => `${name} (already present)`), ...applied]
    print(done.length > 0 ? `Applied ${done.join(', ')}.` : 'The database is up to date.')
  } finally {
    await database.close()
  }
}
