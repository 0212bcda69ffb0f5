import type { Logger } from 'pino'
import type { UnavailableError } from '../domain/errors.ts'
import { RepeatLimitedLog } from '../lib/repeat-limited-log.ts'

/** Errors that are logged already: every row of a list may fail with the same one. */
const logged = new WeakSet<object>()

function isNew(error: unknown): boolean {
  if (typeof error !== 'object' || error === null) return true
  if (logged.has(error)) return false
  logged.add(error)
  return true
}

const outages = new WeakMap<Logger, RepeatLimitedLog>()

function outagesOf(log: Logger): RepeatLimitedLog {
  const lines = outages.get(log) ?? new RepeatLimitedLog(log)
  outages.set(log, lines)
  return lines
}

/** Logs that a request failed because a store did not respond: an error once, and a limited number of equal lines. */
export function logUnavailable(error: UnavailableError, requestId: string, log: Logger): void {
  if (!isNew(error)) return
  const { store, cause } = error
  const kind = `${store} ${cause instanceof Error ? cause.message : ''}`
  outagesOf(log).warn(kind, { requestId, store, err: cause }, 'store unavailable')
}

/** Logs an error that is a bug, once. */
export function logUnexpected(error: unknown, requestId: string, log: Logger): void {
  if (isNew(error)) log.error({ requestId, err: error }, 'unexpected error')
}
