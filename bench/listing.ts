import { pino } from 'pino'
import { parseAddressFilter } from '../src/domain/ip-address.ts'
import { type PageRequest, parsePage } from '../src/domain/page.ts'
import type { Prisma, PrismaClient } from '../src/generated/prisma/client.ts'
import { parsePostgresUrl } from '../src/lib/postgres-url.ts'
import { HistoryListing } from '../src/stores/database/history-listing.ts'
import { openPrisma } from '../src/stores/database/prisma.ts'
import { TokenListing } from '../src/stores/database/token-listing.ts'
import { generateData } from './data.ts'
import { findSamples, type Samples } from './samples.ts'
import {
  explain,
  format,
  formatTable,
  machineFacts,
  percentile,
  report,
  say,
  timed,
  withClient,
  withDatabase,
} from './support.ts'

/** Measures lists of tokens and of history events in large tables, and shows the index of each query. */
const SIZE = { tokens: Number(process.env.TOKENS ?? 1e6), changes: Number(process.env.CHANGES ?? 5e6) }

/** Number of measured runs of each query, and of runs before them to warm up. */
const RUNS = 20
const WARM_UPS = 5

interface MeasuredQuery {
  readonly name: string
  /** Returns the number of rows, or the count. */
  readonly run: () => Promise<number>
}

const first: PageRequest = parsePage('token', {})

function createQueries(tokens: TokenListing, history: HistoryListing, samples: Samples): MeasuredQuery[] {
  const { busy, usual, tree, thousandthToken, thousandthChange } = samples
  const list =
    (filter: Parameters<TokenListing['list']>[0], page = first) =>
    async () =>
      (await tokens.list(filter, page)).rows.length
  const changes =
    (filter: Parameters<HistoryListing['list']>[0], page = first) =>
    async () =>
      (await history.list(filter, page)).rows.length
  const address = (text: string) => ({ ipAddress: parseAddressFilter(text) })
  const block = busy.ipAddress.replace(/\.\d+$/, '.0/24')
  const many = busy.ipAddress.replace(/\.\d+\.\d+$/, '.0.0/16')
  const sumOf = (pages: ReadonlyMap<string, { readonly rows: readonly unknown[] }>) =>
    [...pages.values()].reduce((sum, { rows }) => sum + rows.length, 0)
  return [
    { name: 'tokens: first page', run: list({}) },
    { name: 'tokens: last page', run: list({}, { ...first, from: 'end' }) },
    { name: 'tokens: thousandth page', run: list({}, { ...first, after: thousandthToken }) },
    { name: 'tokens: of a usual user', run: list(usual) },
    { name: 'tokens: of a busy user', run: list(busy) },
    {
      name: 'tokens: of a busy user, thousandth page',
      run: list(busy, { ...first, after: thousandthToken }),
    },
    { name: 'tokens: of a type', run: list({ type: 'user' }) },
    { name: 'tokens: of a busy user and a type', run: list({ ...busy, type: 'notebook' }) },
    { name: 'tokens: totalCount', run: () => tokens.count({}) },
    { name: 'tokens: totalCount of a busy user', run: () => tokens.count({ username: busy.username }) },
    { name: 'tokens: totalCount of a type', run: () => tokens.count({ type: 'user' }) },
    {
      name: 'tokens: children of 50',
      run: async () => sumOf(await tokens.childrenOf(tree.parents, null, first, 20_000)),
    },
    { name: 'tokens: parents of 50', run: async () => (await tokens.parentsOf(tree.children, null)).size },
    { name: 'changes: first page', run: changes({}) },
    { name: 'changes: last page', run: changes({}, { ...first, from: 'end' }) },
    { name: 'changes: thousandth page', run: changes({}, { ...first, after: thousandthChange }) },
    { name: 'changes: of a usual user', run: changes({ username: usual.username }) },
    { name: 'changes: of a busy user', run: changes({ username: busy.username }) },
    { name: 'changes: by an actor', run: changes({ actor: busy.username }) },
    { name: 'changes: of a token', run: changes({ token: tree.parent }) },
    { name: 'changes: of a token and its children', run: changes({ key: tree.parent }) },
    { name: 'changes: of a type', run: changes({ type: 'notebook' }) },
    { name: 'changes: of a type that is rare', run: changes({ type: 'oidc' }) },
    { name: 'changes: of a day', run: changes(samples.day) },
    { name: 'changes: from an address', run: changes(address(usual.ipAddress)) },
    { name: 'changes: from an address of a busy user', run: changes(address(busy.ipAddress)) },
    { name: 'changes: from a /24 block', run: changes(address(block)) },
    { name: 'changes: from a /16 block', run: changes(address(many)) },
    { name: 'changes: from an IPv6 block', run: changes(address('2001:db8::4:0/112')) },
    { name: 'changes: from a block without events', run: changes(address('192.0.2.0/24')) },
    { name: 'changes: totalCount', run: () => history.count({}) },
    { name: 'changes: totalCount of a busy user', run: () => history.count({ username: busy.username }) },
    { name: 'changes: totalCount from an address', run: () => history.count(address(busy.ipAddress)) },
    { name: 'changes: totalCount from a /24 block', run: () => history.count(address(block)) },
    { name: 'changes: totalCount from a /16 block', run: () => history.count(address(many)) },
    {
      name: 'changes: totalCount of a token and its children',
      run: () => history.count({ key: tree.parent }),
    },
    { name: 'changes: totalCount of a type', run: () => history.count({ type: 'notebook' }) },
    { name: 'changes: totalCount of a day', run: () => history.count(samples.day) },
    {
      name: 'changes: histories of 50 tokens',
      run: async () => sumOf(await history.changesOf(tree.parents, null, first, 20_000)),
    },
  ]
}

await withDatabase((url) =>
  withClient(url, async (client) => {
    const { rows } = await client.query('SELECT FROM token LIMIT 1')
    if (rows.length === 0)
      say('generated data in', format((await timed(() => generateData(client, SIZE))).ms / 1000), 's')
    const prisma = openPrisma(parsePostgresUrl(url), pino({ level: 'warn' }))
    let last: Prisma.Sql | undefined
    const recording = {
      $queryRaw: (sql: Prisma.Sql) => {
        last = sql
        return prisma.$queryRaw(sql)
      },
    } as unknown as PrismaClient
    const all = createQueries(
      new TokenListing(recording),
      new HistoryListing(recording),
      await findSamples(client),
    )
    const table = [['query', 'rows', 'median ms', 'slowest ms', 'pages', 'scan']]
    for (const { name, run } of all) {
      for (let warm = 0; warm < WARM_UPS; warm += 1) await run()
      const runs = []
      for (let index = 0; index < RUNS; index += 1) runs.push(await timed(run))
      const times = runs.map(({ ms }) => ms)
      const plan = await explain(client, last)
      const figures = [runs[0]?.value ?? 0, percentile(times, 0.5), Math.max(...times), plan.pages].map(
        format,
      )
      table.push([name, ...figures, plan.scans.join(', ')])
      say(...(table.at(-1) ?? []))
    }
    await prisma.$disconnect()
    await report(
      'listing',
      `# Lists with a million tokens

Cost of \`tokens\` and \`tokenChanges\` with ${SIZE.tokens.toLocaleString('en-US')} tokens and ${SIZE.changes.toLocaleString('en-US')} history events, for pages of 50, one query at a time. The queries
go through the classes that the API uses (\`TokenListing\`, \`HistoryListing\`). \`pages\` are the 8 kB pages that PostgreSQL
read, and \`scan\` is what \`EXPLAIN (ANALYZE)\` shows for the same statement. Repeat it with
\`node --import tsx bench/listing.ts\`.

${await machineFacts(client)}

${formatTable(table)}
`,
    )
  }),
)
