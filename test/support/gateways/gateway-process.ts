import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PROJECT } from '../processes/program.ts'
import { findFreePort } from '../stores/redis.ts'
import { until } from '../waiting/until.ts'

/** How long a gateway may take until it accepts connections, in milliseconds. */
const START_TIMEOUT_MS = 20_000

/** A real gateway, with its recipe. */
export interface Gateway {
  /** Where users send requests, without a slash at the end. */
  readonly url: string
  stop(): Promise<void>
}

/** What a gateway stands between. */
export interface GatewayPorts {
  /** Of Porthor's interface for gateways; one for each Porthor. */
  readonly porthor: readonly [number, number]
  /** Of the service. */
  readonly service: number
}

export const GATEWAYS = ['nginx', 'caddy'] as const

export type GatewayName = (typeof GATEWAYS)[number]

/** A recipe of the guides, by its program and file. */
interface Recipe {
  readonly program: GatewayName
  readonly path: string
}

const RECIPES = {
  nginx: { program: 'nginx', path: 'examples/gateways/nginx.conf' },
  caddy: { program: 'caddy', path: 'examples/gateways/Caddyfile' },
  'gafaelfawr-ingress': { program: 'nginx', path: 'examples/gateways/gafaelfawr-ingress.conf' },
} as const satisfies Readonly<Record<string, Recipe>>

export type RecipeName = keyof typeof RECIPES

/** Returns the recipe that the guide shows, with other ports and nothing else that differs. */
async function readRecipe(path: string, own: number, ports: GatewayPorts): Promise<string> {
  const text = await readFile(join(PROJECT, path), 'utf8')
  const replaced = new Map([
    [':4001', ports.porthor[0]],
    [':4002', ports.porthor[1]],
    [':8080', own],
    [':9000', ports.service],
  ])
  return text.replace(/:(?:4001|4002|8080|9000)\b/g, (port) => `:${replaced.get(port)}`)
}

/** Starts a gateway with its recipe, on a free port of this machine. */
export async function startGateway(name: RecipeName, ports: GatewayPorts): Promise<Gateway> {
  const directory = await mkdtemp(join(tmpdir(), `porthor-${name}-`))
  // NGINX's workers run as another user where the tests run as root.
  await chmod(directory, 0o755)
  const own = await findFreePort()
  const { program, path } = RECIPES[name]
  const recipe = await readRecipe(path, own, ports)
  const child =
    program === 'nginx' ? await startNginx(directory, recipe) : await startCaddy(directory, recipe)
  let complaint = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    complaint += text
  })
  const atExit = () => child.kill('SIGKILL')
  process.once('exit', atExit)
  const stop = async () => {
    process.off('exit', atExit)
    if (child.exitCode === null && child.signalCode === null) {
      const exited = once(child, 'exit')
      child.kill('SIGTERM')
      await exited
    }
    await rm(directory, { recursive: true, force: true })
  }
  try {
    await until(() => child.exitCode !== null || accepts(own), {
      timeoutMs: START_TIMEOUT_MS,
      describe: () => `${name} did not start: ${complaint}`,
    })
    if (child.exitCode !== null) throw new Error(`${name} ended: ${complaint}`)
  } catch (error) {
    await stop()
    throw error
  }
  return { url: `http://127.0.0.1:${own}`, stop }
}

/** The main configuration of NGINX around the recipe, as a package brings it, with all paths in `directory`. */
async function startNginx(directory: string, recipe: string): Promise<ChildProcess> {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((kind) => `${kind}_temp_path ${join(directory, kind)};`)
    .join('\n')
  await writeFile(join(directory, 'porthor.conf'), recipe)
  await writeFile(
    join(directory, 'nginx.conf'),
    `daemon off;\npid ${join(directory, 'pid')};\nerror_log stderr;\nworker_processes 1;\nevents {}\n` +
      `http {\naccess_log off;\n${temporary}\ninclude ${join(directory, 'porthor.conf')};\n}\n`,
  )
  return spawn('nginx', ['-p', directory, '-e', 'stderr', '-c', join(directory, 'nginx.conf')], {
    env: { PATH: `${process.env.PATH}:/usr/sbin` },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
}

async function startCaddy(directory: string, recipe: string): Promise<ChildProcess> {
  const path = join(directory, 'Caddyfile')
  await writeFile(path, recipe)
  return spawn('caddy', ['run', '--config', path, '--adapter', 'caddyfile'], {
    env: {
      PATH: process.env.PATH,
      HOME: directory,
      XDG_CONFIG_HOME: directory,
      XDG_DATA_HOME: directory,
      CADDY_ADMIN: `127.0.0.1:${await findFreePort()}`,
    },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
}

const accepts = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
