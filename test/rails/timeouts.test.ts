import { describe, expect, test } from 'vitest'
import { POSTGRES_LIMITS } from '../../src/lib/postgres-url.ts'
import { MAX_RESPONSE_MS as CHANGE_MS } from '../../src/services/tokens/response-limit.ts'
import { MAX_CREATION_MS, MAX_UNDO_MS } from '../../src/services/tokens/token-issuer.ts'
import { MAX_WAIT_MS } from '../../src/services/tokens/write-limit.ts'
import * as listener from '../../src/stores/broadcast/broadcast.ts'
import * as subscriber from '../../src/stores/broadcast/redis-broadcast.ts'
import { CONNECT_TIMEOUT_MS } from '../../src/stores/database/postgres-client.ts'
import { TRANSACTION_TIMEOUT_MS } from '../../src/stores/database/prisma.ts'
import { LOOKUP_TIMEOUT_MS, TREE_TIMEOUT_MS } from '../../src/stores/database/token-database.ts'
import { LOCATE_TIMEOUT_MS, MAX_RETRY_DELAY_MS } from '../../src/stores/redis/client.ts'
import { COMMAND_TIMEOUT_MS } from '../../src/stores/redis/commands.ts'
import { HEARTBEAT_MS } from '../../src/stores/redis/heartbeat.ts'
import * as tracking from '../../src/stores/token-store/redis-invalidations.ts'
import { ACKNOWLEDGE_MS } from '../../src/stores/token-store/redis-writes.ts'

/** Time in which every request gets a response, in milliseconds, whatever the stores do. */
const MAX_RESPONSE_MS = 10_000

/** Time in which every process refuses a revoked token, in milliseconds, even if the network is silent. */
const MAX_STALE_MS = 2_000

const {
  lock_timeout: lockMs,
  statement_timeout: statementMs,
  query_timeout: queryMs,
  idle_in_transaction_session_timeout: idleMs,
} = POSTGRES_LIMITS

describe('the time limits of PostgreSQL', () => {
  test('lock < statement: a wait for a lock fails as such, and not as a slow statement', () => {
    expect(lockMs).toBeLessThan(statementMs)
  })

  test('statement < query: a server that responds ends a statement before the connection is closed', () => {
    expect(statementMs).toBeLessThan(queryMs)
  })

  test('query < transaction: a silent server is noticed before Prisma gives up the transaction', () => {
    expect(queryMs).toBeLessThan(TRANSACTION_TIMEOUT_MS)
  })

  test('transaction < idle in transaction: the server ends only transactions that Porthor has abandoned', () => {
    expect(TRANSACTION_TIMEOUT_MS).toBeLessThan(idleMs)
  })

  test('query <= all tries of a creation: one statement may use its whole limit', () => {
    expect(queryMs).toBeLessThanOrEqual(TRANSACTION_TIMEOUT_MS - LOOKUP_TIMEOUT_MS)
  })

  test('connect + query < response: a request that opens a connection is answered in time', () => {
    expect(CONNECT_TIMEOUT_MS + queryMs).toBeLessThan(MAX_RESPONSE_MS)
  })

  test('response < change of a tree: large trees may take longer than their caller waits', () => {
    expect(MAX_RESPONSE_MS).toBeLessThan(TREE_TIMEOUT_MS)
  })
})

describe('the time limits of a write', () => {
  test('creation + lookup of COMMIT + taking back records <= response: a failed creation is answered in time', () => {
    expect(MAX_CREATION_MS + LOOKUP_TIMEOUT_MS + MAX_UNDO_MS).toBeLessThanOrEqual(MAX_RESPONSE_MS)
  })

  test('all tries of the transaction < creation: the search before it has time too', () => {
    expect(TRANSACTION_TIMEOUT_MS - LOOKUP_TIMEOUT_MS).toBeLessThan(MAX_CREATION_MS)
  })

  test('wait for the current token < creation: a write that had to wait still has time for its transaction', () => {
    expect(MAX_WAIT_MS).toBeLessThan(MAX_CREATION_MS)
  })

  test('revocation < response: its caller gets UNAVAILABLE in time, and what is recorded is completed', () => {
    expect(CHANGE_MS).toBeLessThan(MAX_RESPONSE_MS)
    expect(MAX_WAIT_MS).toBeLessThan(CHANGE_MS)
  })
})

describe('the time limits of Redis', () => {
  test('command = 2 s, and four in a row < response', () => {
    expect(COMMAND_TIMEOUT_MS).toBe(2_000)
    expect(4 * COMMAND_TIMEOUT_MS).toBeLessThan(MAX_RESPONSE_MS)
  })

  test('Sentinel or cluster node, and pause between attempts < command: a command survives one failed attempt', () => {
    expect(LOCATE_TIMEOUT_MS + MAX_RETRY_DELAY_MS).toBeLessThan(COMMAND_TIMEOUT_MS)
  })

  test('wait for replicas < command: too few replicas are reported as such, and not as a timeout', () => {
    expect(ACKNOWLEDGE_MS).toBeLessThan(COMMAND_TIMEOUT_MS)
  })

  test('ping interval of a connection < command: a live server always sends something before the socket times out', () => {
    expect(HEARTBEAT_MS).toBeLessThan(COMMAND_TIMEOUT_MS)
  })
})

describe('the ping interval and the silence after it', () => {
  test('of invalidations, together < 2 s: no cached record outlives a silent network for longer', () => {
    expect(tracking.LIVE_MS).toBeGreaterThanOrEqual(tracking.PING_INTERVAL_MS + tracking.SILENCE_MS)
    expect(tracking.LIVE_MS).toBeLessThan(MAX_STALE_MS)
  })

  test('of the subscription < command: a silent Redis is noticed before a command times out', () => {
    expect(subscriber.PING_INTERVAL_MS).toBeLessThan(subscriber.SILENCE_MS)
    expect(subscriber.SILENCE_MS).toBeLessThan(COMMAND_TIMEOUT_MS)
  })

  test('of the listener < query: a silent listener is closed before the limit of other queries', () => {
    expect(listener.PING_INTERVAL_MS).toBeLessThan(listener.SILENCE_MS)
    expect(listener.SILENCE_MS).toBeLessThan(queryMs)
  })
})
