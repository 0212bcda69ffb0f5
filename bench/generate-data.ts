import { parseArgs } from 'node:util'
import { generateData } from './data.ts'
import { format, say, timed, withClient } from './support.ts'

/** Fills the migrated, empty database of DATABASE_URL. */
const { values } = parseArgs({
  options: {
    tokens: { type: 'string', default: '1000000' },
    changes: { type: 'string', default: '5000000' },
  },
})
const size = { tokens: Number(values.tokens), changes: Number(values.changes) }
const { ms } = await timed(() =>
  withClient(process.env.DATABASE_URL ?? '', (client) => generateData(client, size)),
)
say(`${format(size.tokens)} tokens and ${format(size.changes)} changes in ${format(ms / 1000)} s`)
