import { PorthorError, UnavailableError } from '../domain/errors.ts'
import type { TokenKey } from '../domain/token.ts'

/** Codes of Node.js for a peer that cannot be reached. */
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
 * Codes of Prisma for a database that cannot be reached or did not respond in time.
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
 * SQLSTATE codes of errors that may pass: connection errors (08), too many connections, lock or statement timeout, deadlock,
 * serialization failure, shutdown and start-up, a read-only server, a refused login, and missing rights.
 * @see https://www.postgresql.org/docs/current/errcodes-appendix.html
 */
const SQL_STATE = /^(08...|28...|3D000|53[0-9]{3}|55P03|57014|57P0[1-5]|40001|40P01|25006|42501|25P0[34])$/

/** Codes of a certificate that is not trusted or has expired, and of other failures of the TLS handshake. */
const TLS_ERROR =
  /^(CERT_|UNABLE_TO_|SELF_SIGNED_CERT|DEPTH_ZERO_SELF_SIGNED|ERR_TLS_|ERR_SSL_|EPROTO$|HOSTNAME_MISMATCH|INVALID_CA$|ERROR_IN_CERT)/

/** Errors of drivers, which have no code. */
const DRIVER_MESSAGE =
  /connection terminated|timeout exceeded when trying to connect|query read timeout|client was closed|not queryable|command timed out|connection is closed|max retries|stream isn't writeable|server has closed|cannot use a pool after|does not support SSL|establishing an SSL connection/i

/** Errors of a Redis that cannot or may not serve a command. Before Redis 7, the error of a script contains them. */
const REDIS_MESSAGE =
  /^(ERR Error running script .*-)?(LOADING|READONLY|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|OOM|NOREPLICAS|MISCONF|BUSY|NOAUTH|WRONGPASS|NOPERM|DENIED|ERR max number of clients reached|ERR ACL failure in script)\b/

/** Errors of ioredis if no Sentinel, or no node of a cluster, names a master. */
const LOCATING_MESSAGE =
  /^(All sentinels are unreachable|Failed to refresh slots cache|None of startup nodes is available|Too many Cluster redirections|No subscriber for the cluster|Cluster is|Cluster isn't ready|Connection is (aborted|discarded)|Node is disconnected|Command aborted due to connection close|Socket timeout)/

/** Kinds of errors of Prisma's driver adapters. */
const ADAPTER_KINDS = new Set([
  'DatabaseNotReachable',
  'ConnectionClosed',
  'TlsConnectionError',
  'SocketTimeout',
  'TooManyConnections',
  'TransactionWriteConflict',
])

/**
 * Runs `work`, which calls a store. An error that says nothing about the request (no connection, no response in time, no
 * free memory) becomes an `UnavailableError`. Any other error is thrown unchanged.
 */
export async function callStore<T>(store: 'redis' | 'postgres', work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof PorthorError) && isUnavailable(error)) throw new UnavailableError(store, error)
    throw error
  }
}

/** A record was changed between its read and its write: the caller must read it again. */
export class ChangedMeanwhileError extends UnavailableError {
  constructor(store: 'redis' | 'postgres', key: TokenKey) {
    super(store, new Error(`token ${key} was changed at the same time`))
  }
}

/**
 * Whether `error` or one of its causes means that the store is unavailable. If there is an SQLSTATE, it alone decides: a
 * message of PostgreSQL may quote a value that looks like an error.
 */
export function isUnavailable(error: unknown): boolean {
  const chain = causesOf(error)
  const sqlState = chain.flatMap(codesOf).find((code) => ANY_SQL_STATE.test(code))
  if (sqlState !== undefined) return SQL_STATE.test(sqlState)
  return chain.some(
    (each) =>
      codesOf(each).some(
        (code) => NETWORK_ERRORS.has(code) || PRISMA_ERRORS.has(code) || TLS_ERROR.test(code),
      ) ||
      (typeof each.kind === 'string' && ADAPTER_KINDS.has(each.kind)) ||
      (typeof each.message === 'string' && isDriverError(each.message)),
  )
}

/** Whether PostgreSQL aborted a transaction in favour of another one: a deadlock or a serialization failure. */
export const isConflict = (error: unknown): boolean =>
  causesOf(error).some(
    (each) => each.kind === 'TransactionWriteConflict' || codesOf(each).some((code) => CONFLICTS.has(code)),
  )

const CONFLICTS = new Set(['40P01', '40001', 'P2034'])

/** Any SQLSTATE; Prisma's codes, of the same length, begin with P1 to P6. */
const ANY_SQL_STATE = /^(?=.*\d)(?!P[1-6])[0-9A-Z]{5}$/

type Cause = Readonly<Record<string, unknown>>

/** Maximum depth of nested errors: more than any driver has. */
const MAX_DEPTH = 6

/** Returns the error and its causes, also those in the fields of Prisma and its adapters. */
function causesOf(error: unknown, depth = 0): Cause[] {
  if (typeof error !== 'object' || error === null || depth > MAX_DEPTH) return []
  const outer = error as Cause
  const { cause, meta } = outer
  const inner = [cause, meta, (meta as Cause | undefined)?.driverAdapterError]
  return [outer, ...inner.flatMap((each) => causesOf(each, depth + 1))]
}

const codesOf = ({ code, originalCode }: Cause): string[] =>
  [code, originalCode].filter((value): value is string => typeof value === 'string')

const isDriverError = (message: string): boolean =>
  DRIVER_MESSAGE.test(message) || REDIS_MESSAGE.test(message) || LOCATING_MESSAGE.test(message)
