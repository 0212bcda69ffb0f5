// Migrates DATABASE_URL in a process of its own, and prints the answer.
import { parsePostgresUrl } from '../../../src/lib/postgres-url.ts'
import { migrate } from '../../../src/stores/migrations/migrations.ts'

const result = await migrate(parsePostgresUrl(process.env.DATABASE_URL ?? ''), {
  log: { info: () => undefined },
})
process.stdout.write(JSON.stringify(result))
