// Opens the embedded PostgreSQL in DATA_DIR in a process of its own, and prints a line for each thing that happens.
// SIGINT makes it ask the server something, as a program that drains would. SIGTERM closes.
import pg from 'pg'
import { openEmbeddedPostgres } from '../../../src/embedded-postgres/embedded-postgres.ts'

const print = (line: object) => process.stdout.write(`${JSON.stringify(line)}\n`)

try {
  const postgres = await openEmbeddedPostgres({
    dataDir: process.env.DATA_DIR ?? '',
    log: { info: () => undefined, warn: () => undefined },
    postgresFlags: ['-c', 'fsync=off'],
  })
  process.on('SIGINT', async () => {
    const client = new pg.Client(postgres.url)
    await client.connect()
    const { rows } = await client.query('SELECT 1 AS answer')
    await client.end()
    print({ event: 'interrupted', ...rows[0] })
  })
  process.once('SIGTERM', async () => {
    await postgres.close()
    print({ event: 'closed' })
    process.exit()
  })
  print({ event: 'open', pid: postgres.pid, url: postgres.url })
} catch (error) {
  print({ event: 'refused', message: error instanceof Error ? error.message : String(error) })
}
