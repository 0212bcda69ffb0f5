import { Cluster, Redis, type RedisOptions } from 'ioredis'
import type { Logger } from 'pino'
import { OutageLog } from '../../lib/outage-log.ts'
import type {
  ClusterRedis,
  RedisCredentials,
  RedisUrl,
  SentinelRedis,
  SingleRedis,
} from '../../lib/redis-url.ts'
import { COMMAND_TIMEOUT_MS, CommandFlow, type RedisClient } from './commands.ts'
import { MasterConnector, ServerConnector } from './connector.ts'
import { keepAlive, type RedisGuard } from './heartbeat.ts'

/** Maximum pause between two attempts to connect, in milliseconds: after a restart, no request waits longer. */
export const MAX_RETRY_DELAY_MS = 500

/** Maximum time for one Sentinel or cluster node to name the masters, in milliseconds. */
export const LOCATE_TIMEOUT_MS = 500

/** Pause before a Sentinel is subscribed to again, in milliseconds. */
const SENTINEL_RECONNECT_MS = 1_000

/** Maximum number of redirections and retries of a command in a cluster: more than fit into its timeout. */
const MAX_REDIRECTIONS = 50

/** Error of a replica that was asked to write. Before Redis 7, the error of a script contains it. */
const READ_ONLY = /^(ERR Error running script .*-)?READONLY\b/

const NOT_USED = 'Redis is not used until its data are known to be current'

const retryDelay = (attempt: number): number => Math.min(50 * attempt, MAX_RETRY_DELAY_MS)

/**
 * Opens a connection to Redis. If it is lost, ioredis connects again, to the server that is the master by then. Commands
 * wait for it at most two seconds and then fail, so that an outage causes errors and not a queue.
 *
 * @param guard Admits each server before its data are used. Default: every server is admitted.
 */
export function openRedis(target: RedisUrl, log: Logger, guard?: RedisGuard): RedisClient {
  return target.kind === 'cluster' ? openCluster(target, log, guard) : openServer(target, log, guard)
}

function openServer(target: SingleRedis | SentinelRedis, log: Logger, guard: RedisGuard | undefined): Redis {
  const redis = new Redis({
    ...serverOptionsOf(target),
    maxRetriesPerRequest: null,
    retryStrategy: retryDelay,
    // The former master is a replica now: connect to its successor.
    reconnectOnError: ({ message }) => READ_ONLY.test(message),
  })
  const outage = new OutageLog(log)
  const isGuarded = guard !== undefined
  const report = (error: Error) => outage.report(error, NOT_USED)
  keepAlive(redis, new CommandFlow(redis, { isGuarded }), { client: redis, guard, report })
  redis.on('error', (error) => outage.report(error, 'lost the connection to Redis'))
  redis.on('sentinelError', (error: Error) => outage.report(error, 'lost the connection to a Sentinel'))
  redis.on('ready', () => {
    outage.recovered()
    log.info('connected to Redis')
  })
  return redis
}

function openCluster(target: ClusterRedis, log: Logger, guard: RedisGuard | undefined): Cluster {
  const cluster = new Cluster([...target.nodes], {
    clusterRetryStrategy: retryDelay,
    slotsRefreshTimeout: LOCATE_TIMEOUT_MS,
    maxRedirections: MAX_REDIRECTIONS,
    // The socket resolves the name, so that certificates are checked against it.
    dnsLookup: (name, callback) => callback(null, name),
    redisOptions: { ...optionsOf(target), Connector: ServerConnector },
  })
  new CommandFlow(cluster, { isGuarded: false })
  const outage = new OutageLog(log)
  const outageOf = outageLogs(log)
  cluster.on('+node', (node: Redis) => {
    const address = `${node.options.host}:${node.options.port}`
    const isGuarded = guard !== undefined
    const report = (error: Error) => outageOf(address).report(error, NOT_USED, { node: address })
    keepAlive(node, new CommandFlow(node, { isGuarded }), { client: cluster, guard, report })
    node.on('ready', () => outageOf(address).recovered())
  })
  cluster.on('error', (error) => outage.report(error, 'lost the connection to Redis'))
  cluster.on('node error', (error: Error, node: string) =>
    outageOf(node).report(error, 'lost the connection to a node of Redis', { node }),
  )
  cluster.on('ready', () => {
    outage.recovered()
    log.info('connected to Redis')
  })
  return cluster
}

/** Returns the outage log of a node by its address: a cluster works while some of its nodes are unavailable. */
function outageLogs(log: Logger): (node: string) => OutageLog {
  const logs = new Map<string, OutageLog>()
  return (node) => {
    const known = logs.get(node) ?? new OutageLog(log)
    logs.set(node, known)
    return known
  }
}

/** Options of every connection to a Redis server. */
const optionsOf = ({ credentials, hasTls }: RedisUrl) =>
  ({
    ...credentials,
    ...(hasTls && { tls: {} }),
    commandTimeout: COMMAND_TIMEOUT_MS,
    connectTimeout: COMMAND_TIMEOUT_MS,
    // A network that drops all packets closes no connection, and a silent server may have a successor.
    socketTimeout: COMMAND_TIMEOUT_MS,
    disconnectTimeout: MAX_RETRY_DELAY_MS,
    maxLoadingRetryTime: MAX_RETRY_DELAY_MS,
    connectionName: 'porthor',
  }) satisfies RedisOptions

/** Returns the options of a connection to one server, fixed or found by Sentinel. */
export const serverOptionsOf = (target: SingleRedis | SentinelRedis) =>
  ({
    ...optionsOf(target),
    ...(target.kind === 'single'
      ? { ...target.address, Connector: ServerConnector }
      : { ...sentinelOptionsOf(target), Connector: MasterConnector }),
    db: target.database,
  }) satisfies RedisOptions

const sentinelOptionsOf = ({ sentinels, sentinelCredentials, masterName, hasTls }: SentinelRedis) =>
  ({
    sentinels: [...sentinels],
    name: masterName,
    ...sentinelLogin(sentinelCredentials),
    ...(hasTls && { sentinelTLS: {}, enableTLSForSentinelMode: true }),
    sentinelCommandTimeout: LOCATE_TIMEOUT_MS,
    sentinelRetryStrategy: retryDelay,
    // A master that was replaced serves commands for seconds before it is demoted.
    failoverDetector: true,
    sentinelReconnectStrategy: () => SENTINEL_RECONNECT_MS,
  }) satisfies RedisOptions

const sentinelLogin = (credentials: RedisCredentials | undefined) =>
  credentials && {
    sentinelPassword: credentials.password,
    ...(credentials.username !== undefined && { sentinelUsername: credentials.username }),
  }
