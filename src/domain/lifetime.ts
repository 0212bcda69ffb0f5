import { floorToSecond, toSeconds } from '../lib/clock.ts'
import { PorthorError } from './errors.ts'

/** Shortest lifetime that may be requested or returned, in seconds: enough to finish the work that needs the token. */
export const MIN_LIFETIME_SECONDS = 300

export const DAY_SECONDS = 24 * 60 * 60

/** Returns the earlier of two expiries; `null` means that a token never expires. */
export function earlier(left: Date, right: Date | null): Date
export function earlier(left: Date | null, right: Date | null): Date | null
export function earlier(left: Date | null, right: Date | null): Date | null {
  return left === null || (right !== null && right < left) ? right : left
}

export const addSeconds = (date: Date, seconds: number): Date => new Date(date.getTime() + seconds * 1000)

/** Whole seconds from `now` to `end`, each without its fraction of a second; `Infinity` for `null`. */
export const secondsUntil = (end: Date | null, now: Date): number =>
  end === null ? Number.POSITIVE_INFINITY : toSeconds(end) - toSeconds(now)

/**
 * Latest expiry, in seconds since 1970 (year 2603): Gafaelfawr's models, and so Porthor, read a larger number in a
 * record as milliseconds.
 */
export const MAX_TIME_SECONDS = 2e10

/**
 * Returns the requested expiry, in whole seconds.
 *
 * @throws {PorthorError} `INVALID_EXPIRES`, when it is less than 300 s ahead, or later than a record can hold.
 */
export function requireExpiry(expiresAt: Date, now: Date): Date {
  const floored = floorToSecond(expiresAt)
  const earliest = addSeconds(now, MIN_LIFETIME_SECONDS)
  const latest = new Date(MAX_TIME_SECONDS * 1000)
  if (floored >= earliest && floored <= latest) return floored
  const [minimum, maximum] = [earliest.toISOString(), latest.toISOString()]
  throw new PorthorError(
    'INVALID_EXPIRES',
    `expiresAt must be at least ${MIN_LIFETIME_SECONDS} s ahead: from ${minimum} to ${maximum}.`,
    { facts: { minimum, maximum } },
  )
}
