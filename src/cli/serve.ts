import { once } from 'node:events'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type Config, type Environment, isProduction, loadConfig } from '../config.ts'
import { assertStoreUsable, openProcess, type ProcessContext } from '../context.ts'
import { UnavailableError } from '../domain/errors.ts'
import { systemClock } from '../lib/clock.ts'
import { createLogger } from '../lib/logger.ts'
import { closeServer, createServer } from '../server.ts'
import { checkMigrated, migrate } from '../stores/migrations.ts'
import {
  bootstrapTokenFile,
  dataDirOf,
  type OpenDatabase,
  openDatabase,
  withSecrets,
  withStandIns,
} from './environment.ts'
import { listenToSignals, type Stop } from './stop-signals.ts'
import { startUpkeep } from './upkeep-schedule.ts'

/** Runs the server until a signal asks it to stop. */
export async function serve(env: Environment): Promise<void> {
  // Before anything is started, so that a faulty configuration leaves nothing to stop.
  const { logLevel } = loadConfig(withStandIns(env))
  const log = createLogger(logLevel)
  const stop = listenToSignals()
  const database = await openDatabase(env, log)
  stop.forced.addEventListener('abort', database.endAtOnce)
  try {
    const config = loadConfig({ ...(await withSecrets(env)), DATABASE_URL: database.url })
    if (database.isEmbedded) await migrate(database.url, { log })
    const obstacle = await checkMigrated(database.url)
    // A restart during a failover: not ready until PostgreSQL takes writes, which nobody has to wait for.
    if (obstacle) log.warn({ reason: obstacle }, 'not ready')
    await assertStoreUsable(config, { isEvictionRefused: isProduction(env) })
    const process = openProcess(config, { clock: systemClock, log })
    // Before anybody can ask: out of file descriptors it could not be loaded, then or ever after.
    await process.prisma.$connect()
    const stopUpkeep = startUpkeep(process)
    try {
      await checkKeys(process)
      await listenUntil(stop, process, isProduction(env), (url) => {
        if (!isProduction(env)) globalThis.process.stdout.write(welcome(url, env, database, config))
      })
    } finally {
      await stopUpkeep()
      await process.close()
    }
  } finally {
    await database.close()
  }
  log.info('stopped')
}

/**
 * Refuses to start where no record of the token store can be read, and logs how many cannot while the server is up.
 * While the store is unavailable nothing is known, and the server starts.
 */
async function checkKeys({ services: { keys }, log }: ProcessContext): Promise<void> {
  const isUnknown = (error: unknown): void => {
    if (!(error instanceof UnavailableError)) throw error
    log.warn({ err: error }, 'could not check SESSION_SECRET')
  }
  await keys.requireAny().catch(isUnknown)
  keys.warn().catch(isUnknown)
}

async function listenUntil(
  { requested, forced }: Stop,
  context: ProcessContext,
  isInProduction: boolean,
  onListening: (url: string) => void,
): Promise<void> {
  const server = createServer(context)
  const { host, port } = context.config
  server.listen(port, host)
  await once(server, 'listening')
  const url = urlOf(server)
  context.log.info({ url, tokenStore: context.config.tokenStore }, 'listening')
  warnOfDangers(context, server, isInProduction)
  onListening(url)
  await requested
  context.log.info('stopping')
  forced.addEventListener('abort', () => server.closeAllConnections())
  await closeServer(server)
}

/** What an operator may have meant for a while only, or not at all. */
function warnOfDangers({ config, log }: ProcessContext, server: Server, isInProduction: boolean): void {
  if (config.bootstrapToken) {
    log.warn('the bootstrap token is on: with BOOTSTRAP_TOKEN=none nobody can use it once there is an admin')
  }
  const { address } = server.address() as AddressInfo
  if (!isInProduction && !isLoopback(address)) {
    log.warn(
      { address },
      'others can reach this server, which is not in production: set HOST=127.0.0.1 or NODE_ENV=production',
    )
  }
}

const isLoopback = (address: string): boolean => address === '::1' || /^(::ffff:)?127\./.test(address)

function urlOf(server: Server): string {
  const { address, family, port } = server.address() as AddressInfo
  return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}/graphql`
}

/** Where the bootstrap token is, in words and for a shell to read. */
function describeBootstrapToken(
  { BOOTSTRAP_TOKEN: given }: Environment,
  file: string,
): { readonly place: string; readonly shell: string } {
  if (given === 'none') return { place: 'none, as BOOTSTRAP_TOKEN says', shell: "<an admin's token>" }
  if (given) return { place: 'as in BOOTSTRAP_TOKEN', shell: '$BOOTSTRAP_TOKEN' }
  // In full, and quoted: it is pasted in any directory.
  return { place: file, shell: `$(cat '${file.replaceAll("'", String.raw`'\''`)}')` }
}

function welcome(url: string, env: Environment, { isEmbedded }: OpenDatabase, config: Config): string {
  const dataDir = dataDirOf(env)
  const token = describeBootstrapToken(env, bootstrapTokenFile(dataDir))
  const mutation =
    'mutation { createSessionToken(input: { username: \\"wren\\", scopes: [\\"user:token\\", \\"read:all\\", \\"exec:notebook\\"] }) { token } }'
  return `
  Porthor is listening:  ${url}${config.graphiql ? '   (open it in a browser for GraphiQL)' : ''}
  Data:                  ${isEmbedded ? `${dataDir} (embedded PostgreSQL)` : 'the database of DATABASE_URL'}
  Bootstrap token:       ${token.place}

  Make the first session:

  curl -s ${url} -H "Authorization: Bearer ${token.shell}" -H 'Content-Type: application/json' \\
    -d '{"query":"${mutation}"}'

`
}
