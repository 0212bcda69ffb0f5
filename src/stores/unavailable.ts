import { PorthorError, UnavailableError } from '../domain/errors.ts'
import type { TokenKey } from '../domain/token.ts'

/** Node's own words for a peer that cannot be reached. */
const NETWORK_ERRORS = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EADDRNOTAVAIL',
  // No descriptor, or no memory, is left for a connection.
  'EMFILE',
  'ENFILE',
  'ENOBUFS',
  'ENOMEM',
])

/**
 * Prisma's codes for a database that cannot be reached or did not answer in time.
 * @see https://www.prisma.io/docs/orm/reference/error-reference
 */
const PRISMA_ERRORS = new Set([
  'P1001',
  'P1002',
  'P1008',
  'P1011',
  'P1017',
  'P2024',
  'P2028',
  'P2034',
  'P2037',
])

/**
 * SQLSTATE codes that say "not now" rather than "wrong": connection faults (08), too many connections,
 * lock or statement timeout, deadlock, serialization, shutdown and start-up, a server that takes no writes, a
 * log-in that is refused, and rights that the role has not, or no longer.
 * @see https://www.postgresql.org/docs/current/errcodes-appendix.html
 */
const SQL_STATE = /^(08...|28...|3D000|53[0-9]{3}|55P03|57014|57P0[1-5]|40001|40P01|25006|42501|25P0[34])$/

/** A certificate that is not trusted, or no longer, and what else keeps TLS from being agreed on. */
const TLS_ERROR =
  /^(CERT_|UNABLE_TO_|SELF_SIGNED_CERT|DEPTH_ZERO_SELF_SIGNED|ERR_TLS_|ERR_SSL_|EPROTO$|HOSTNAME_MISMATCH|INVALID_CA$|ERROR_IN_CERT)/

/** Faults of a driver, which come without a code. */
const DRIVER_MESSAGE =
  /connection terminated|timeout exceeded when trying to connect|query read timeout|client was closed|not queryable|command timed out|connection is closed|max retries|stream isn't writeable|server has closed|cannot use a pool after|does not support SSL|establishing an SSL connection/i

/** What Redis says while it cannot answer, or may not; before Redis 7, within other words where a script asked. */
const REDIS_MESSAGE =
  /^(ERR Error running script .*-)?(LOADING|READONLY|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|OOM|NOREPLICAS|MISCONF|BUSY|NOAUTH|WRONGPASS|NOPERM|DENIED|ERR max number of clients reached|ERR ACL failure in script)\b/

/** What ioredis says where no Sentinel, or no node of a cluster, helps it on. */
const LOCATING_MESSAGE =
  /^(All sentinels are unreachable|Failed to refresh slots cache|None of startup nodes is available|Too many Cluster redirections|No subscriber for the cluster|Cluster is|Cluster isn't ready|Connection is (aborted|discarded)|Node is disconnected|Command aborted due to connection close|Socket timeout)/

/** Kinds of fault as Prisma's driver adapters name them. */
const ADAPTER_KINDS = new Set([
  'DatabaseNotReachable',
  'ConnectionClosed',
  'TlsConnectionError',
  'SocketTimeout',
  'TooManyConnections',
  'TransactionWriteConflict',
])

/**
 * Runs `work` against a store. A fault that says nothing about the question (no connection, no answer
 * in time, no room) becomes `UnavailableError`; any other passes as it is.
 */
export async function callStore<T>(store: 'redis' | 'postgres', work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof PorthorError) && isUnavailable(error)) throw new UnavailableError(store, error)
    throw error
  }
}

/** What was read has been changed before it could be written: to be read again. */
export class ChangedMeanwhileError extends UnavailableError {
  constructor(store: 'redis' | 'postgres', key: TokenKey) {
    super(store, new Error(`token ${key} has been changed meanwhile`))
  }
}

/**
 * Whether `error`, or what caused it, means that the store could not be asked. What PostgreSQL itself says
 * (SQLSTATE) decides alone: messages may quote a value that reads like a fault.
 */
export function isUnavailable(error: unknown): boolean {
  const chain = causesOf(error)
  const sqlState = chain.flatMap(codesOf).find((code) => ANY_SQL_STATE.test(code))
  if (sqlState !== undefined) return SQL_STATE.test(sqlState)
  return chain.some(
    (link) =>
      codesOf(link).some(
        (code) => NETWORK_ERRORS.has(code) || PRISMA_ERRORS.has(code) || TLS_ERROR.test(code),
      ) ||
      (typeof link.kind === 'string' && ADAPTER_KINDS.has(link.kind)) ||
      (typeof link.message === 'string' && isFaultOfDriver(link.message)),
  )
}

/** Whether PostgreSQL gave a transaction up for the sake of another: a deadlock, or a serialization failure. */
export const isConflict = (error: unknown): boolean =>
  causesOf(error).some(
    (link) => link.kind === 'TransactionWriteConflict' || codesOf(link).some((code) => CONFLICTS.has(code)),
  )

const CONFLICTS = new Set(['40P01', '40001', 'P2034'])

/** Any SQLSTATE; Prisma's codes, of the same length, begin with P1 to P6. */
const ANY_SQL_STATE = /^(?=.*\d)(?!P[1-6])[0-9A-Z]{5}$/

type Cause = Readonly<Record<string, unknown>>

/** How deep drivers hang one error into another, with room to spare. */
const DEEPEST = 6

/** The error and what hangs on it as its cause, where Prisma and its adapters put it too. */
function causesOf(error: unknown, depth = 0): Cause[] {
  if (typeof error !== 'object' || error === null || depth > DEEPEST) return []
  const link = error as Cause
  const { cause, meta } = link
  const inner = [cause, meta, (meta as Cause | undefined)?.driverAdapterError]
  return [link, ...inner.flatMap((each) => causesOf(each, depth + 1))]
}

const codesOf = ({ code, originalCode }: Cause): string[] =>
  [code, originalCode].filter((value): value is string => typeof value === 'string')

const isFaultOfDriver = (message: string): boolean =>
  DRIVER_MESSAGE.test(message) || REDIS_MESSAGE.test(message) || LOCATING_MESSAGE.test(message)
