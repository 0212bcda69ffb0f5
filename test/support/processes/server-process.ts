import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { Environment } from '../../../src/config/config.ts'
import { formatToken, generateToken } from '../../../src/domain/token.ts'
import { generateFernetKey } from '../../../src/lib/fernet.ts'
import type { LogLine } from '../porthor/porthor.ts'
import { type AskOptions, askGraphQL, type GraphQLAnswer } from '../requests/graphql.ts'
import { PORTHOR, PROJECT } from './program.ts'

/** How long a server may take until it listens, in milliseconds. */
const START_TIMEOUT_MS = 60_000

/** A server in a process of its own, as in production. */
export interface ServerProcess {
  readonly url: string
  readonly pid: number
  /** Every line it has logged. */
  readonly logLines: readonly LogLine[]
  ask(query: string, options?: AskOptions): Promise<GraphQLAnswer>
  /** Ends it as a crash would. */
  kill(): Promise<void>
  /** Ends it in an orderly way; answers with the exit code. Can be called again. */
  stop(): Promise<number | null>
}

/** What a server in production needs beside its stores. */
export const serverSecrets = (): Record<'SESSION_SECRET' | 'BOOTSTRAP_TOKEN', string> => ({
  SESSION_SECRET: generateFernetKey(),
  BOOTSTRAP_TOKEN: formatToken(generateToken()),
})

export interface ServerOptions {
  /** The most files and sockets that it may have open at a time. */
  readonly descriptors?: number
}

/** Starts `porthor serve` on a free port, with `env` and nothing else of the environment. */
export async function startServer(
  env: Environment,
  { descriptors }: ServerOptions = {},
): Promise<ServerProcess> {
  const command = [process.execPath, PORTHOR, 'serve']
  const limit = descriptors === undefined ? '' : `ulimit -n ${descriptors} && `
  const child = spawn('/bin/sh', ['-c', `${limit}exec "$0" "$@"`, ...command], {
    cwd: PROJECT,
    env: {
      PATH: process.env.PATH,
      NODE_ENV: 'production',
      HOST: '127.0.0.1',
      PORT: '0',
      SHUTDOWN_DELAY: '0s',
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const atExit = () => child.kill('SIGKILL')
  process.once('exit', atExit)
  const exited = once(child, 'exit').finally(() => process.off('exit', atExit))

  let complaint = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaint += text
  })
  const logLines: LogLine[] = []
  const listening = new Promise<string>((resolve) => {
    createInterface(child.stdout).on('line', (line) => {
      const entry = JSON.parse(line) as LogLine
      logLines.push(entry)
      if (entry.msg === 'listening') resolve(String(entry.url))
    })
  })
  const failed = exited.then(([code]) => {
    throw new Error(`the server ended with ${code} while it started: ${complaint}`)
  })
  const late = new Promise<never>((_, reject) => {
    setTimeout(() => reject(new Error(`the server does not listen: ${complaint}`)), START_TIMEOUT_MS).unref()
  })
  for (const unused of [failed, late]) unused.catch(() => undefined)
  const url = await Promise.race([listening, failed, late])

  const end = async (signal: NodeJS.Signals): Promise<number | null> => {
    if (child.exitCode === null && child.signalCode === null) child.kill(signal)
    await exited
    return child.exitCode
  }
  return {
    url,
    pid: child.pid ?? 0,
    logLines,
    ask: (query, options) => askGraphQL(url, query, options),
    kill: async () => void (await end('SIGKILL')),
    stop: () => end('SIGTERM'),
  }
}
