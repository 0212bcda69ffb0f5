import { once } from 'node:events'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout } from 'node:timers/promises'
import type { App } from '../../app.ts'
import { startBackgroundJobs } from '../../background-jobs.ts'
import { type Config, type Environment, loadConfig } from '../../config/config.ts'
import { UnavailableError } from '../../domain/errors.ts'
import { authServerOptions, createAuthServer } from '../../http/forward-auth/auth-server.ts'
import { Monitoring } from '../../http/monitoring.ts'
import { closeServer, createAdminServer, createServer, shareConnections } from '../../http/server.ts'
import { systemClock } from '../../lib/clock.ts'
import { createLogger } from '../../lib/logger.ts'
import { checkMigrated, migrate } from '../../stores/migrations/migrations.ts'
import {
  bootstrapTokenFile,
  type OpenDatabase,
  openDatabase,
  withPlaceholders,
  withSecrets,
} from '../environment.ts'
import { openUsableApp } from '../open-usable-app.ts'
import { listenToSignals, type Stop } from '../stop-signals.ts'

/** Runs the server until a signal asks it to stop. */
export async function serve(env: Environment): Promise<void> {
  // Before anything is started, so that an invalid configuration leaves nothing to stop.
  const { logLevel } = loadConfig(withPlaceholders(env))
  const log = createLogger(logLevel)
  const stop = listenToSignals()
  const database = await openDatabase(env, log)
  stop.forced.addEventListener('abort', database.endAtOnce)
  try {
    const config = loadConfig({ ...(await withSecrets(env)), DATABASE_URL: database.url })
    const databaseUrl = config.databaseUrl.reveal()
    if (database.isEmbedded) await migrate(databaseUrl, { log })
    const reason = await checkMigrated(databaseUrl)
    // During a failover PostgreSQL accepts no writes yet. The server starts, and becomes ready once it does.
    if (reason) log.warn({ reason }, 'not ready')
    const context = await openUsableApp(
      config,
      { clock: systemClock, log },
      { isEvictionRefused: config.isProduction },
    )
    // Before the first request: a process without file descriptors could not load Prisma's engine, then or later.
    await context.prisma.$connect()
    const stopJobs = startBackgroundJobs(context)
    try {
      await checkEncryptionKeys(context)
      await listenUntil(stop, context, (url) => {
        if (!config.isProduction) process.stdout.write(formatWelcome(url, env, database, config))
      })
    } finally {
      await stopJobs()
      await context.close()
    }
  } finally {
    await database.close()
  }
  log.info('stopped')
}

/**
 * Throws if no record of the token store can be decrypted, and logs the number of those that cannot while the server
 * runs. While the store is unavailable nothing is known, and the server starts.
 */
async function checkEncryptionKeys({ services: { encryptionKeys: keys }, log }: App): Promise<void> {
  const isUnknown = (error: unknown): void => {
    if (!(error instanceof UnavailableError)) throw error
    log.warn({ err: error }, 'could not check SESSION_SECRET')
  }
  await keys.requireForStart().catch(isUnknown)
  keys.warn().catch(isUnknown)
}

async function listenUntil(
  { requested, forced }: Stop,
  context: App,
  onListening: (url: string) => void,
): Promise<void> {
  const monitoring = new Monitoring(context)
  const { api, auth, admin } = createListeners(context, monitoring)
  // The API last: whoever sees that it listens may expect the other ports too.
  const listeners = [auth, admin, api].filter((listener) => listener !== undefined)
  const servers = listeners.map(({ server }) => server)
  try {
    for (const listener of listeners) await listen(listener)
  } catch (error) {
    for (const server of servers) server.close()
    throw error
  }
  const [authUrl, adminUrl] = [auth, admin].map((each) => each && new URL('/', urlOf(each.server)).href)
  const url = urlOf(api.server)
  const { shutdownDelay, tokenStore } = context.config
  context.log.info({ url, authUrl, adminUrl, tokenStore }, 'listening')
  warnOfRiskySettings(context, api.server)
  onListening(url)
  await requested
  context.log.info('stopping')
  forced.addEventListener('abort', () => {
    for (const each of servers) each.closeAllConnections()
  })
  monitoring.stop()
  await setTimeout(shutdownDelay * 1000, undefined, { signal: forced }).catch(() => undefined)
  await Promise.all(servers.map(closeServer))
}

/** A server, and where it listens. */
interface Listener {
  readonly server: Server
  readonly host: string
  readonly port: number
}

/** Creates the server of the API, and those that have ports of their own. */
function createListeners(
  context: App,
  monitoring: Monitoring,
): { readonly api: Listener; readonly auth: Listener | undefined; readonly admin: Listener | undefined } {
  const { host, port, forwardAuth, adminHost, adminPort } = context.config
  const authOptions = authServerOptions(context.config)
  const max = shareConnections({ auth: authOptions !== undefined, admin: adminPort !== undefined })
  const authServer =
    authOptions && createAuthServer(context, monitoring.metrics, authOptions, { maxConnections: max.auth })
  return {
    api: { server: createServer(context, { maxConnections: max.api }, monitoring), host, port },
    auth: authServer && forwardAuth && { ...forwardAuth, server: authServer },
    admin:
      adminPort === undefined
        ? undefined
        : {
            server: createAdminServer(monitoring, { maxConnections: max.admin }),
            host: adminHost,
            port: adminPort,
          },
  }
}

async function listen({ server, host, port }: Listener): Promise<void> {
  server.listen(port, host)
  await once(server, 'listening')
}

/** Logs settings that are meant for a short time, or may not be meant at all. */
function warnOfRiskySettings({ config, log }: App, server: Server): void {
  if (config.bootstrapToken) {
    log.warn('bootstrap token is enabled: set BOOTSTRAP_TOKEN=none once there is an admin')
  }
  const { address } = server.address() as AddressInfo
  if (!config.isProduction && !isLoopback(address)) {
    log.warn(
      { address },
      'other machines can reach this development server: set HOST=127.0.0.1 or NODE_ENV=production',
    )
  }
}

const isLoopback = (address: string): boolean => address === '::1' || /^(::ffff:)?127\./.test(address)

function urlOf(server: Server): string {
  const { address, family, port } = server.address() as AddressInfo
  return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}/graphql`
}

/** Returns where the bootstrap token is: for a person, and as an expression of a shell. */
function describeBootstrapToken(
  { BOOTSTRAP_TOKEN: given }: Environment,
  file: string,
): { readonly place: string; readonly shell: string } {
  if (given === 'none') return { place: 'none (BOOTSTRAP_TOKEN=none)', shell: "<an admin's token>" }
  if (given) return { place: 'the value of BOOTSTRAP_TOKEN', shell: '$BOOTSTRAP_TOKEN' }
  // The full path, quoted: the command is pasted in any directory.
  return { place: file, shell: `$(cat '${file.replaceAll("'", String.raw`'\''`)}')` }
}

function formatWelcome(url: string, env: Environment, { isEmbedded }: OpenDatabase, config: Config): string {
  const token = describeBootstrapToken(env, bootstrapTokenFile(config.dataDir))
  const mutation =
    'mutation { createSessionToken(input: { username: \\"wren\\", scopes: [\\"user:token\\", \\"read:all\\", \\"exec:notebook\\"] }) { token } }'
  return `
  Porthor is listening:  ${url}${config.graphiql ? '   (open it in a browser for GraphiQL)' : ''}
  Data:                  ${isEmbedded ? `${config.dataDir} (embedded PostgreSQL)` : 'the database of DATABASE_URL'}
  Bootstrap token:       ${token.place}

  Create the first session:

  curl -s ${url} -H "Authorization: Bearer ${token.shell}" -H 'Content-Type: application/json' \\
    -d '{"query":"${mutation}"}'

`
}
