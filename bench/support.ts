import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { availableParallelism, cpus, tmpdir, totalmem } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { openEmbeddedPostgres } from '../src/embedded-postgres/embedded-postgres.ts'
import { systemClock } from '../src/lib/clock.ts'
import { parsePostgresUrl } from '../src/lib/postgres-url.ts'
import { migrate } from '../src/stores/migrations/migrations.ts'

export const log = { info: () => undefined, warn: (facts: object, message: string) => say(message, facts) }

export const say = (...words: unknown[]): void => {
  const text = words.map((word) => (typeof word === 'string' ? word : JSON.stringify(word)))
  process.stderr.write(`${text.join(' ')}\n`)
}

/** Runs `work` on a migrated database: that of DATABASE_URL, or a temporary one. */
export async function withDatabase(work: (databaseUrl: string) => Promise<void>): Promise<void> {
  const { DATABASE_URL: given } = process.env
  if (given) {
    await migrate(parsePostgresUrl(given), { log })
    return work(given)
  }
  const dataDir = await mkdtemp(join(tmpdir(), 'porthor-bench-'))
  try {
    const postgres = await openEmbeddedPostgres({ dataDir, log })
    try {
      await migrate(parsePostgresUrl(postgres.url), { log })
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

/** Returns the duration of `work` in milliseconds, and its result. */
export async function timed<T>(work: () => Promise<T>): Promise<{ readonly ms: number; readonly value: T }> {
  const start = systemClock.monotonicMs()
  const value = await work()
  return { ms: systemClock.monotonicMs() - start, value }
}

/** Returns the value below which a share `p` of `values` lies. */
export function percentile(values: readonly number[], p: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * p))] ?? Number.NaN
}

/** Describes the machine, on which all values depend; without its name and paths. */
export async function machineFacts(client: pg.Client): Promise<string> {
  const { rows } = await client.query<{ version: string }>(
    "SELECT current_setting('server_version') AS version",
  )
  const memory = Math.round(totalmem() / 2 ** 30)
  return `${availableParallelism()} cores (${cpus()[0]?.model.trim()}), ${memory} GB of memory, Node ${process.versions.node}, PostgreSQL ${rows[0]?.version} as embedded, with its default settings.`
}

/** Formats a number as `1,234,567`; a fraction below ten has two significant digits. */
export const format = (value: number): string =>
  value < 10 && !Number.isInteger(value) ? value.toPrecision(2) : Math.round(value).toLocaleString('en-US')

/** Returns a Markdown table; the first row is its head. */
export function formatTable(rows: readonly (readonly string[])[]): string {
  const [head = [], ...body] = rows
  return [head, head.map(() => '---'), ...body].map((row) => `| ${row.join(' | ')} |`).join('\n')
}

/** Writes `docs/benchmarks/<name>.md`, and prints it. */
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

/** Explains how PostgreSQL executes `sql`: the number of pages that it reads, and its access paths. */
export async function explain(
  client: pg.Client,
  sql: { readonly text: string; readonly values: readonly unknown[] } | undefined,
): Promise<{ readonly pages: number; readonly scans: readonly string[] }> {
  if (!sql) throw new Error('there is no statement to explain')
  const { rows } = await client.query<{ 'QUERY PLAN': [{ Plan: PlanNode }] }>(
    `EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ${sql.text}`,
    [...sql.values],
  )
  const root = rows[0]?.['QUERY PLAN'][0].Plan
  if (!root) throw new Error('EXPLAIN returned no plan')
  const nodes = (node: PlanNode): PlanNode[] => [node, ...(node.Plans ?? []).flatMap(nodes)]
  const scans = nodes(root)
    .filter((node) => node['Node Type'].endsWith('Scan') && (node['Index Name'] ?? node['Relation Name']))
    .filter((node) => node['Node Type'] !== 'Bitmap Heap Scan')
    .map((node) => `${node['Node Type']} \`${node['Index Name'] ?? node['Relation Name']}\``)
  return { pages: root['Shared Hit Blocks'] + root['Shared Read Blocks'], scans: [...new Set(scans)] }
}
