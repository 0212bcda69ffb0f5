import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { availableParallelism, cpus, tmpdir, totalmem } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { openEmbeddedPostgres } from '../src/lib/embedded-postgres.ts'
import { migrate } from '../src/stores/migrations.ts'

export const log = { info: () => undefined, warn: (facts: object, message: string) => say(message, facts) }

export const say = (...words: unknown[]): void => {
  const text = words.map((word) => (typeof word === 'string' ? word : JSON.stringify(word)))
  process.stderr.write(`${text.join(' ')}\n`)
}

/** Runs `work` on a migrated database: that of DATABASE_URL, or one that is gone afterwards. */
export async function withDatabase(work: (databaseUrl: string) => Promise<void>): Promise<void> {
  const { DATABASE_URL: given } = process.env
  if (given) {
    await migrate(given, { log })
    return work(given)
  }
  const dataDir = await mkdtemp(join(tmpdir(), 'porthor-bench-'))
  try {
    const postgres = await openEmbeddedPostgres({ dataDir, log })
    try {
      await migrate(postgres.url, { log })
      await work(postgres.url)
    } finally {
      await postgres.close()
    }
  } finally {
    await rm(dataDir, { recursive: true, force: true })
  }
}

/** Runs `work` on a connection. */
export async function withClient<T>(
  databaseUrl: string,
  work: (client: pg.Client) => Promise<T>,
): Promise<T> {
  const client = new pg.Client(databaseUrl)
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}

/** How long `work` takes, in milliseconds, and what it gives. */
export async function timed<T>(work: () => Promise<T>): Promise<{ readonly ms: number; readonly value: T }> {
  const start = performance.now()
  const value = await work()
  return { ms: performance.now() - start, value }
}

/** The value below which a share `p` of `values` lies. */
export function percentile(values: readonly number[], p: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * p))] ?? Number.NaN
}

/** What a figure is worth depends on: never the name of the machine or a path on it. */
export async function machineFacts(client: pg.Client): Promise<string> {
  const { rows } = await client.query<{ version: string }>(
    "SELECT current_setting('server_version') AS version",
  )
  const memory = Math.round(totalmem() / 2 ** 30)
  return `${availableParallelism()} cores (${cpus()[0]?.model.trim()}), ${memory} GB of memory, Node ${process.versions.node}, PostgreSQL ${rows[0]?.version} as embedded, with its default settings.`
}

/** Numbers as people read them: `1,234,567`; below ten, what is not whole has two significant digits. */
export const format = (value: number): string =>
  value < 10 && !Number.isInteger(value) ? value.toPrecision(2) : Math.round(value).toLocaleString('en-US')

/** A table in Markdown; the first row is its head. */
export function formatTable(rows: readonly (readonly string[])[]): string {
  const [head = [], ...body] = rows
  return [head, head.map(() => '---'), ...body].map((row) => `| ${row.join(' | ')} |`).join('\n')
}

/** Writes `docs/benchmarks/<name>.md`, and shows it. */
export async function report(name: string, text: string): Promise<void> {
  await writeFile(new URL(`../docs/benchmarks/${name}.md`, import.meta.url), text)
  process.stdout.write(text)
}

interface PlanNode {
  readonly 'Node Type': string
  readonly 'Index Name'?: string
  readonly 'Relation Name'?: string
  readonly 'Shared Hit Blocks': number
  readonly 'Shared Read Blocks': number
  readonly Plans?: readonly PlanNode[]
}

/** How PostgreSQL answers `sql`: the pages that it looks at, and each way that it takes into a table. */
export async function explain(
  client: pg.Client,
  sql: { readonly text: string; readonly values: readonly unknown[] } | undefined,
): Promise<{ readonly pages: number; readonly scans: readonly string[] }> {
  if (!sql) throw new Error('nothing was asked')
  const { rows } = await client.query<{ 'QUERY PLAN': [{ Plan: PlanNode }] }>(
    `EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ${sql.text}`,
    [...sql.values],
  )
  const root = rows[0]?.['QUERY PLAN'][0].Plan
  if (!root) throw new Error('EXPLAIN answers with a plan')
  const nodes = (node: PlanNode): PlanNode[] => [node, ...(node.Plans ?? []).flatMap(nodes)]
  const scans = nodes(root)
    .filter((node) => node['Node Type'].endsWith('Scan') && (node['Index Name'] ?? node['Relation Name']))
    .filter((node) => node['Node Type'] !== 'Bitmap Heap Scan')
    .map((node) => `${node['Node Type']} \`${node['Index Name'] ?? node['Relation Name']}\``)
  return { pages: root['Shared Hit Blocks'] + root['Shared Read Blocks'], scans: [...new Set(scans)] }
}
