import { Cluster, Redis, type RedisOptions } from 'ioredis'
import type { Logger } from 'pino'
import { UnavailableError } from '../domain/errors.ts'
import { FaultLog } from '../lib/fault-log.ts'
import {
  type ClusterRedis,
  parseRedisUrl,
  type RedisCredentials,
  type RedisUrl,
  type SentinelRedis,
  type SingleRedis,
} from '../lib/redis-url.ts'

/** One server, be it found by Sentinel, or a cluster of them. */
export type RedisClient = Redis | Cluster

/** How long Redis may keep a request waiting, in milliseconds, connecting included. */
const COMMAND_TIMEOUT_MS = 2_000

/**
 * Commands of requests that may wait for one server or cluster at a time. Those that have given up count too,
 * since ioredis keeps them until it hears of the server again: an outage must not fill the memory.
 */
export const MOST_WAITING = 20_000

/** What requests send. Other commands are few, and some of them are how ioredis itself connects. */
const COMMANDS_OF_REQUESTS: ReadonlySet<string> = new Set(['get', 'set', 'ping'])

/** Longest pause between two attempts to connect, in milliseconds: after a restart, no request waits longer. */
const LONGEST_RETRY_DELAY_MS = 500

/** How long one Sentinel, or one node of a cluster, may think about where the masters are, in milliseconds. */
const LOCATE_TIMEOUT_MS = 500

/** How often a command is sent on or again in a cluster: as often as it may until its time is over. */
const MOST_REDIRECTIONS = 50

/** What a server says that may not be written to; before Redis 7, within other words where a script wrote. */
const READ_ONLY = /^(ERR Error running script .*-)?READONLY\b/

const retryDelay = (attempt: number): number => Math.min(50 * attempt, LONGEST_RETRY_DELAY_MS)

/**
 * A connection to Redis that is made anew whenever it is lost, to whichever server is then the master.
 * Commands wait for it at most two seconds and then fail, so that an outage is an answer and not a queue.
 */
export function openRedis(url: string, log: Logger): RedisClient {
  const target = parseRedisUrl(url)
  return target.kind === 'cluster' ? openCluster(target, log) : openServer(target, log)
}

function openServer(target: SingleRedis | SentinelRedis, log: Logger): Redis {
  const redis = limitWait(
    new Redis({
      ...serverOptionsOf(target),
      disconnectTimeout: LONGEST_RETRY_DELAY_MS,
      maxRetriesPerRequest: null,
      retryStrategy: retryDelay,
      // What was the master is a replica now: look for its successor.
      reconnectOnError: ({ message }) => READ_ONLY.test(message),
    }),
  )
  const faults = new FaultLog(log)
  redis.on('error', (error) => faults.tell(error, 'lost the connection to Redis'))
  redis.on('sentinelError', (error: Error) => faults.tell(error, 'lost the connection to a Sentinel'))
  redis.on('ready', () => {
    faults.pass()
    log.info('connected to Redis')
  })
  return redis
}

function openCluster(target: ClusterRedis, log: Logger): Cluster {
  const cluster = limitWait(
    new Cluster([...target.nodes], {
      clusterRetryStrategy: retryDelay,
      slotsRefreshTimeout: LOCATE_TIMEOUT_MS,
      maxRedirections: MOST_REDIRECTIONS,
      // Names are looked up by whoever connects, so that certificates can be held against them.
      dnsLookup: (name, callback) => callback(null, name),
      redisOptions: optionsOf(target),
    }),
  )
  const faults = new FaultLog(log)
  const faultsOf = faultLogs(log)
  cluster.on('+node', (node: Redis) => {
    limitWait(node)
    node.on('ready', () => faultsOf(`${node.options.host}:${node.options.port}`).pass())
  })
  cluster.on('error', (error) => faults.tell(error, 'lost the connection to Redis'))
  cluster.on('node error', (error: Error, node: string) =>
    faultsOf(node).tell(error, 'lost the connection to a node of Redis', { node }),
  )
  cluster.on('ready', () => {
    faults.pass()
    log.info('connected to Redis')
  })
  return cluster
}

/** A log of the faults of each node, by its address: a cluster goes on while one of them is away. */
function faultLogs(log: Logger): (node: string) => FaultLog {
  const logs = new Map<string, FaultLog>()
  return (node) => {
    const known = logs.get(node) ?? new FaultLog(log)
    logs.set(node, known)
    return known
  }
}

/** What all connections to Redis servers have in common. */
const optionsOf = ({ kind, credentials, hasTls }: RedisUrl) =>
  ({
    ...credentials,
    ...(hasTls && { tls: {} }),
    commandTimeout: COMMAND_TIMEOUT_MS,
    connectTimeout: COMMAND_TIMEOUT_MS,
    // A server that fell silent may have a successor by now, which a connection left open never finds. One
    // that has none is waited for: what was sent to it is done, and in that order, when it goes on.
    ...(kind !== 'single' && { socketTimeout: COMMAND_TIMEOUT_MS }),
    maxLoadingRetryTime: LONGEST_RETRY_DELAY_MS,
    connectionName: 'porthor',
  }) satisfies RedisOptions

/** How to connect to one server, be it found by Sentinel. */
export const serverOptionsOf = (target: SingleRedis | SentinelRedis) =>
  ({
    ...optionsOf(target),
    ...(target.kind === 'single' ? target.address : sentinelOptionsOf(target)),
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
  }) satisfies RedisOptions

const sentinelLogin = (credentials: RedisCredentials | undefined) =>
  credentials && {
    sentinelPassword: credentials.password,
    ...(credentials.username !== undefined && { sentinelUsername: credentials.username }),
  }

/**
 * Lets no command of `client` wait for longer than it may, be it for a connection, nor too many at a time, and
 * sends none that has given up: whoever asked was told so, and by now it could bring back a token that another
 * process has revoked. But a `DEL` is sent late too: it takes away what was not to be, and nothing comes back
 * by it.
 */
function limitWait<T extends RedisClient>(client: T): T {
  const send: Cluster['sendCommand'] = client.sendCommand.bind(client)
  let queued = 0
  client.on('ready', () => {
    queued = 0
  })
  const waiting = (): number => {
    if (client.status !== 'ready') return queued
    return client instanceof Redis ? client.commandQueue.length : 0
  }
  const sendInTime: Cluster['sendCommand'] = (command, stream, node) => {
    if (command.isSettled && command.name !== 'del') return command.promise
    if (COMMANDS_OF_REQUESTS.has(command.name)) {
      if (waiting() >= MOST_WAITING) {
        command.reject(new UnavailableError('redis', new Error(`${MOST_WAITING} commands wait already`)))
        return command.promise
      }
      if (client.status !== 'ready') queued += 1
    }
    command.setTimeout(COMMAND_TIMEOUT_MS)
    return send(command, stream, node)
  }
  client.sendCommand = sendInTime
  return client
}
