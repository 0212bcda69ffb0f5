import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished, vi } from 'vitest'
import type { Environment } from '../../../src/config/config.ts'
import { PORTHOR } from './program.ts'

/** How long a server may take until it listens, in milliseconds: the machine may be busy. */
const START_TIMEOUT_MS = 60_000

/** How long one may take to stop, in milliseconds, before it is ended as by a crash. */
const STOP_TIMEOUT_MS = 20_000

/** How a command ended. */
export interface CliResult {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

export interface CliProcess {
  readonly pid: number
  /** What it has printed so far. */
  readonly stdout: () => string
  readonly stderr: () => string
  /** Resolves when it has ended by itself. */
  readonly ended: Promise<CliResult>
  /** Resolves when standard output matches; with the match. Rejects if it ends before. */
  prints(pattern: RegExp): Promise<RegExpExecArray>
  stop(signal?: NodeJS.Signals): Promise<CliResult>
}

export interface CliOptions {
  readonly cwd?: string
}

/** Starts `porthor` in a process of its own, with `env` and nothing else of the environment. It ends with the test. */
export function startPorthor(
  args: readonly string[],
  env: Environment = {},
  { cwd }: CliOptions = {},
): CliProcess {
  const child = spawn(process.execPath, [PORTHOR, ...args], {
    cwd,
    // Without the pause before a stop, which proxies need.
    env: { PATH: process.env.PATH, SHUTDOWN_DELAY: '0s', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const printed = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      printed[name] += text
    })
  }
  const ended = once(child, 'close').then(([code, signal]): CliResult => ({ code, signal, ...printed }))
  // What has not ended by then is a fault that the test has told of; nothing of it may stay.
  onTestFinished(async () => {
    child.kill('SIGTERM')
    const late = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS)
    await ended
    clearTimeout(late)
  })
  return {
    pid: child.pid ?? 0,
    stdout: () => printed.stdout,
    stderr: () => printed.stderr,
    ended,
    prints: (pattern) => waitFor(child, pattern, printed),
    stop: (signal = 'SIGTERM') => {
      child.kill(signal)
      return ended
    },
  }
}

async function waitFor(
  child: ChildProcess,
  pattern: RegExp,
  printed: { readonly stdout: string; readonly stderr: string },
): Promise<RegExpExecArray> {
  return vi.waitUntil(
    () => {
      const match = pattern.exec(printed.stdout)
      if (!match && child.exitCode !== null) throw new Error(`porthor ended: ${printed.stderr}`)
      return match
    },
    { timeout: START_TIMEOUT_MS, interval: 20 },
  )
}

/** Runs `porthor` to its end. */
export const runPorthor = (
  args: readonly string[],
  env?: Environment,
  options?: CliOptions,
): Promise<CliResult> => startPorthor(args, env, options).ended

/** Runs `porthor` to its end on a machine whose clock is wrong by `seconds`, ahead where they are positive. */
export const runPorthorAt = (
  seconds: number,
  args: readonly string[],
  env: Environment,
): Promise<CliResult> =>
  runPorthor(args, {
    ...env,
    CLOCK_OFFSET_MS: `${seconds * 1_000}`,
    NODE_OPTIONS: `--import=${new URL('shifted-clock.mjs', import.meta.url).href}`,
  })

/** A directory that PostgreSQL may enter too when the tests run as root; gone after the test. */
export async function temporaryDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'porthor-cli-'))
  onTestFinished(() => rm(directory, { recursive: true, force: true }))
  await chmod(directory, 0o755)
  return directory
}

/** Whether there is such a process. */
export function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}
