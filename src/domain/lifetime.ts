import { fromSeconds, toSeconds } from '../lib/clock.ts'
import { PorthorError } from './errors.ts'

/**
 * The least life worth asking for or handing out, in seconds: time enough to finish the work that a
 * token was fetched for.
 */
export const MINIMUM_LIFETIME_SECONDS = 300

export const DAY_SECONDS = 24 * 60 * 60

/** The earlier of two ends, where `null` is a life without end. */
export function earlier(left: Date, right: Date | null): Date
export function earlier(left: Date | null, right: Date | null): Date | null
export function earlier(left: Date | null, right: Date | null): Date | null {
  return left === null || (right !== null && right < left) ? right : left
}

export const addSeconds = (date: Date, seconds: number): Date => new Date(date.getTime() + seconds * 1000)

/** Seconds from the second of `now` to that of `end`, both as they are stored; `Infinity` where it never ends. */
export const secondsUntil = (end: Date | null, now: Date): number =>
  end === null ? Number.POSITIVE_INFINITY : toSeconds(end) - toSeconds(now)

/** `date` without its fraction of a second: stored times are whole seconds. */
export const floorToSecond = (date: Date): Date => fromSeconds(toSeconds(date))

/**
 * Later than this, in seconds since 1970 (year 2603), the record of a token would be read as milliseconds:
 * so do Gafaelfawr's models, and so do we.
 */
export const LATEST_SECONDS = 2e10

/**
 * The expiry that was asked for, in whole seconds.
 *
 * @throws {PorthorError} `INVALID_EXPIRES`, when it is less than 300 s ahead, or beyond what a record can say.
 */
export function requireExpiry(expiresAt: Date, now: Date): Date {
  const floored = floorToSecond(expiresAt)
  const earliest = addSeconds(now, MINIMUM_LIFETIME_SECONDS)
  const latest = new Date(LATEST_SECONDS * 1000)
  if (floored >= earliest && floored <= latest) return floored
  throw new PorthorError(
    'INVALID_EXPIRES',
    `expiresAt must be at least ${MINIMUM_LIFETIME_SECONDS} s ahead: ${earliest.toISOString()} or later, up to ${latest.toISOString()}.`,
  )
}
