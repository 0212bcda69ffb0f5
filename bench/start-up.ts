import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Environment } from '../src/config/config.ts'
import { PRODUCTION, startProgram } from './server.ts'
import { format, percentile } from './support.ts'

const RUNS = 5

/** Returns a text with the start times of `porthor serve`: on the given stores, and on the embedded database. */
export async function measureStarts(given: Environment): Promise<string> {
  const home = await mkdtemp(join(tmpdir(), 'porthor-bench-start-'))
  const start = async (env: Environment): Promise<number> => {
    const program = await startProgram(['dist/main.js', 'serve'], { PORT: '0', ...env })
    await program.stop()
    return program.startMs
  }
  const several = async (one: (time: number) => Promise<number>): Promise<string> => {
    const times: number[] = []
    for (let time = 0; time < RUNS; time += 1) times.push(await one(time))
    return format(percentile(times, 0.5))
  }
  try {
    const withServers = await several(() => start({ ...given, ...PRODUCTION }))
    const first = await several((time) => start({ DATA_DIR: join(home, String(time)) }))
    const later = await several(() => start({ DATA_DIR: join(home, '0') }))
    return `${withServers} with running servers, ${first} the first time with the embedded database, ${later} later`
  } finally {
    await rm(home, { recursive: true, force: true })
  }
}
