import { isIPv6 } from 'node:net'

export interface RedisAddress {
  readonly host: string
  readonly port: number
}

export interface RedisCredentials {
  /** Absent for the user `default`. */
  readonly username?: string
  readonly password: string
}

interface Reachable {
  readonly hasTls: boolean
  readonly credentials: RedisCredentials | undefined
}

/** One fixed server. */
export interface SingleRedis extends Reachable {
  readonly kind: 'single'
  readonly address: RedisAddress
  readonly database: number
}

/** The server that the Sentinels name as the master. */
export interface SentinelRedis extends Reachable {
  readonly kind: 'sentinel'
  readonly sentinels: readonly RedisAddress[]
  /** Credentials for the Sentinels themselves, which have their own users. */
  readonly sentinelCredentials: RedisCredentials | undefined
  readonly masterName: string
  readonly database: number
}

/** A cluster, which is discovered from any of its nodes. */
export interface ClusterRedis extends Reachable {
  readonly kind: 'cluster'
  readonly nodes: readonly RedisAddress[]
}

export type RedisUrl = SingleRedis | SentinelRedis | ClusterRedis

/** The URL is not valid. The message says what is right and quotes nothing: any part may be a misplaced password. */
export class RedisUrlError extends Error {
  override readonly name = 'RedisUrlError'
}

const REDIS_PORT = 6_379
const SENTINEL_PORT = 26_379

/** RFC 3986, section 3: scheme, authority, path and query, without a fragment. */
const URL_PARTS =
  /^(?<secure>rediss?)(?:\+(?<kind>sentinel|cluster))?:\/\/(?<authority>[^/?#\s]*)(?<path>\/[^?#\s]*)?(?:\?(?<query>[^#\s]*))?$/i

const HOST_AND_PORT = /^(?:\[(?<ipv6>[^\]]*)\]|(?<name>[\w.-]+))(?::(?<port>\d{1,5}))?$/

/** Without a comma or @ in the user: these would be credentials for each of several servers. */
const USER_INFO = /^(?<username>[^:,@]*):(?<password>[^@]*)$/

/** The names that Sentinel itself accepts. */
const MASTER_NAME = /^[\w.-]+$/

/**
 * Parses a Redis URL in one of these forms, each with `rediss` in place of `redis` for TLS:
 *
 * - `redis://[user:password@]host[:port][/database]`
 * - `redis+sentinel://[user:password@]host[:port][,…]/master-name[/database][?sentinelUsername=…&sentinelPassword=…]`
 * - `redis+cluster://[user:password@]host[:port][,…]`
 *
 * Special characters in names and passwords are percent-encoded.
 *
 * @throws {RedisUrlError} Its message continues a sentence that begins with the setting's name.
 */
export function parseRedisUrl(text: string): RedisUrl {
  const parts = URL_PARTS.exec(text)?.groups
  if (!parts) {
    throw new RedisUrlError(
      'must be a URL that begins with redis://, redis+sentinel:// or redis+cluster://, or with rediss in place of redis for TLS',
    )
  }
  const { secure = '', authority = '', path = '', query } = parts
  const kind = parts.kind?.toLowerCase()
  const at = authority.lastIndexOf('@')
  const reachable: Reachable = {
    hasTls: secure.toLowerCase() === 'rediss',
    credentials: at < 0 ? undefined : parseUserInfo(authority.slice(0, at)),
  }
  const hosts = authority.slice(at + 1)
  if (kind === 'sentinel') {
    const [masterName = '', ...rest] = path.slice(1).split('/')
    if (!MASTER_NAME.test(masterName)) {
      throw new RedisUrlError(
        'must name the master after the Sentinels: redis+sentinel://host:port/master-name',
      )
    }
    return {
      ...reachable,
      kind,
      sentinels: parseAddresses(hosts, SENTINEL_PORT),
      sentinelCredentials: parseSentinelCredentials(query),
      masterName,
      database: parseDatabase(rest),
    }
  }
  if (query !== undefined) throw new RedisUrlError('must not have parameters (?…)')
  if (kind === 'cluster') {
    if (parseDatabase(path.slice(1).split('/')) !== 0) {
      throw new RedisUrlError('must not have a database number: a cluster has one database only')
    }
    return { ...reachable, kind, nodes: parseAddresses(hosts, REDIS_PORT) }
  }
  const [address, ...others] = parseAddresses(hosts, REDIS_PORT)
  if (!address || others.length > 0) {
    throw new RedisUrlError(
      'must name one server: only redis+sentinel:// and redis+cluster:// accept several',
    )
  }
  return { ...reachable, kind: 'single', address, database: parseDatabase(path.slice(1).split('/')) }
}

function parseAddresses(hosts: string, defaultPort: number): RedisAddress[] {
  return hosts.split(',').map((each) => {
    const { ipv6, name, port } = HOST_AND_PORT.exec(each)?.groups ?? {}
    const number = port === undefined ? defaultPort : Number(port)
    const host = ipv6 === undefined ? name : ipv6
    const isValid =
      host !== undefined && (ipv6 === undefined || isIPv6(ipv6)) && number >= 1 && number <= 65_535
    if (isValid) return { host, port: number }
    throw new RedisUrlError(
      'must name each server as host or host:port (an IPv6 address in brackets), with commas between several',
    )
  })
}

function parseUserInfo(userInfo: string): RedisCredentials {
  const { username, password } = USER_INFO.exec(userInfo)?.groups ?? {}
  if (username !== undefined && password !== undefined) return parseCredentials(username, password)
  throw new RedisUrlError(
    'must have credentials once, as user:password@ or :password@, percent-encoded: @ is %40',
  )
}

function parseSentinelCredentials(query: string | undefined): RedisCredentials | undefined {
  if (query === undefined) return undefined
  const parameters = new Map(
    query.split('&').map((each) => {
      const equals = each.indexOf('=')
      return [each.slice(0, equals), each.slice(equals + 1)]
    }),
  )
  const [username = '', password] = [parameters.get('sentinelUsername'), parameters.get('sentinelPassword')]
  const known = parameters.has('sentinelUsername') ? 2 : 1
  if (password === undefined || parameters.size !== known || query.split('&').length !== known) {
    throw new RedisUrlError(
      'must not have parameters other than sentinelPassword, and sentinelUsername with it',
    )
  }
  return parseCredentials(username, password)
}

function parseCredentials(username: string, password: string): RedisCredentials {
  try {
    const [name, secret] = [decodeURIComponent(username), decodeURIComponent(password)]
    return name === '' ? { password: secret } : { username: name, password: secret }
  } catch {
    throw new RedisUrlError('must have percent-encoded credentials: % is %25')
  }
}

/** Parses the database number at the end of a path: no segment, an empty one, or digits. */
function parseDatabase([piece = '', ...others]: readonly string[]): number {
  if (others.length > 0 || !/^\d{0,5}$/.test(piece)) {
    throw new RedisUrlError('must have a database number at the end of its path, or no path')
  }
  return Number(piece)
}
