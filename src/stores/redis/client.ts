import { Cluster, Redis, type RedisOptions } from 'ioredis'
import type { Logger } from 'pino'
import { OutageLog } from '../../lib/outage-log.ts'
import {
  type ClusterRedis,
  parseRedisUrl,
  type RedisCredentials,
  type RedisUrl,
  type SentinelRedis,
  type SingleRedis,
} from '../../lib/redis-url.ts'
import { COMMAND_TIMEOUT_MS, CommandFlow, type RedisClient } from './commands.ts'
import { MasterConnector, ServerConnector } from './connector.ts'
import { keepAlive, type RedisGuard } from './heartbeat.ts'

/** Longest pause between two attempts to connect, in milliseconds: after a restart, no request waits longer. */
export const MAX_RETRY_DELAY_MS = 500

/** How long one Sentinel, or one node of a cluster, may think about where the masters are, in milliseconds. */
export const LOCATE_TIMEOUT_MS = 500

/** How long to wait before a Sentinel is subscribed to again, in milliseconds. */
const SENTINEL_RECONNECT_MS = 1_000

/** How often a command is sent on or again in a cluster: as often as it may until its time is over. */
const MAX_REDIRECTIONS = 50

/** What a server says that may not be written to; before Redis 7, within other words where a script wrote. */
const READ_ONLY = /^(ERR Error running script .*-)?READONLY\b/

const NOT_USED = 'Redis is not used until its data are known to be current'

const retryDelay = (attempt: number): number => Math.min(50 * attempt, MAX_RETRY_DELAY_MS)

/**
 * A connection to Redis that is made anew whenever it is lost, to whichever server is then the master.
 * Commands wait for it at most two seconds and then fail, so that an outage is an answer and not a queue.
 *
 * @param guard Admits each server before its data are used. Default: all are.
 */
export function openRedis(url: string, log: Logger, guard?: RedisGuard): RedisClient {
  const target = parseRedisUrl(url)
  return target.kind === 'cluster' ? openCluster(target, log, guard) : openServer(target, log, guard)
}

function openServer(target: SingleRedis | SentinelRedis, log: Logger, guard: RedisGuard | undefined): Redis {
  const redis = new Redis({
    ...serverOptionsOf(target),
    maxRetriesPerRequest: null,
    retryStrategy: retryDelay,
    // What was the master is a replica now: look for its successor.
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
    // Names are looked up by whoever connects, so that certificates can be held against them.
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

/** A log of the faults of each node, by its address: a cluster goes on while one of them is away. */
function outageLogs(log: Logger): (node: string) => OutageLog {
  const logs = new Map<string, OutageLog>()
  return (node) => {
    const known = logs.get(node) ?? new OutageLog(log)
    logs.set(node, known)
    return known
  }
}

/** What all connections to Redis servers have in common. */
const optionsOf = ({ credentials, hasTls }: RedisUrl) =>
  ({
    ...credentials,
    ...(hasTls && { tls: {} }),
    commandTimeout: COMMAND_TIMEOUT_MS,
    connectTimeout: COMMAND_TIMEOUT_MS,
    // A network that swallows everything closes no connection, and a server that does not reply may have a successor.
    socketTimeout: COMMAND_TIMEOUT_MS,
    disconnectTimeout: MAX_RETRY_DELAY_MS,
    maxLoadingRetryTime: MAX_RETRY_DELAY_MS,
    connectionName: 'porthor',
  }) satisfies RedisOptions

/** How to connect to one server, be it found by Sentinel. */
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
    // A master that was replaced goes on for seconds before it learns of it.
    failoverDetector: true,
    sentinelReconnectStrategy: () => SENTINEL_RECONNECT_MS,
  }) satisfies RedisOptions

const sentinelLogin = (credentials: RedisCredentials | undefined) =>
  credentials && {
    sentinelPassword: credentials.password,
    ...(credentials.username !== undefined && { sentinelUsername: credentials.username }),
  }
