// Migrates DATABASE_URL in a process of its own, and prints the answer.
import { migrate } from '../../../src/stores/migrations/migrations.ts'

const result = await migrate(process.env.DATABASE_URL ?? '', { log: { info: () => undefined } })
process.stdout.write(JSON.stringify(result))
