import { parse as parseLossless, stringify } from 'lossless-json'
import { z } from 'zod'
import { MAX_TIME_SECONDS } from '../../domain/lifetime.ts'
import { toScopes } from '../../domain/scope.ts'
import {
  serviceOf,
  TOKEN_TYPES,
  type TokenData,
  type TokenKey,
  type TokenSecret,
} from '../../domain/token.ts'
import { isGroupName } from '../../domain/user.ts'
import { fromSeconds, toSeconds } from '../../lib/clock.ts'

/**
 * The JSON of a record, shared with Gafaelfawr: field order, `null` for absent values, compact separators, times in whole
 * seconds since 1970.
 */

/** A record cannot be parsed. The message names the invalid fields, never their values. */
export class DamagedRecordError extends Error {
  override readonly name = 'DamagedRecordError'
}

const timestamp = z
  .union([z.number(), z.string().transform(parseTimeText)])
  .transform((value) => fromSeconds(Math.floor(Math.abs(value) > MAX_TIME_SECONDS ? value / 1000 : value)))
  .refine((date) => !Number.isNaN(date.getTime()))

const text = z.string().min(1)

/** An exact integer of any size: Gafaelfawr has no maximum, and its values must be preserved. */
const integer = z.union([z.int(), z.bigint()])
const positiveInteger = z.union([z.int().min(1), z.bigint().min(1n)])

const record = z.object({
  username: text.max(64),
  name: text.nullish(),
  email: text.nullish(),
  uid: positiveInteger.nullish(),
  gid: positiveInteger.nullish(),
  groups: z.array(z.object({ name: z.string().refine(isGroupName), id: integer })).nullish(),
  token_type: z.enum(TOKEN_TYPES),
  service: text.max(64).nullish(),
  scopes: z.union([z.array(z.string()), z.string().transform((list) => list.split(',').filter(Boolean))]),
  created: timestamp.optional(),
  expires: timestamp.nullish(),
  token: z.object({ key: z.string(), secret: z.string() }),
})

/** Returns the JSON of the record for `data`. */
export function encodeRecord(data: TokenData): string {
  const { name, email, uid, gid, groups } = data.userInfo
  const json = stringify({
    username: data.username,
    name,
    email,
    uid,
    gid,
    groups: groups?.map((group) => ({ name: group.name, id: group.id })) ?? null,
    token_type: data.type,
    service: serviceOf(data),
    scopes: data.scopes,
    created: toSeconds(data.createdAt),
    expires: data.expiresAt && toSeconds(data.expiresAt),
    token: { key: data.token.key, secret: data.token.secret },
  })
  return json ?? ''
}

/**
 * Parses a record that Porthor or Gafaelfawr wrote, and accepts what Gafaelfawr accepts.
 *
 * @param now Replaces a missing creation time.
 * @throws {DamagedRecordError} It is not JSON, or a field is invalid.
 */
export function decodeRecord(json: string, now: Date): TokenData {
  const { data, error } = record.safeParse(parseJson(json))
  // Only paths and kinds of error: the values may contain a secret.
  if (error)
    throw new DamagedRecordError(
      error.issues.map(({ path, code }) => `${path.join('.')}: ${code}`).join(', '),
    )
  const { token_type: type, service } = data
  const common = {
    token: { key: data.token.key as TokenKey, secret: data.token.secret as TokenSecret },
    username: data.username,
    userInfo: {
      name: data.name ?? null,
      email: data.email ?? null,
      uid: data.uid ?? null,
      gid: data.gid ?? null,
      groups: data.groups ?? null,
    },
    scopes: toScopes(data.scopes),
    createdAt: data.created ?? now,
    expiresAt: data.expires ?? null,
  }
  if (type !== 'internal') return { ...common, type }
  if (!service) throw new DamagedRecordError('service: missing on an internal token')
  return { ...common, type, service }
}

/** Matches if there may be an integer that a number does not represent exactly. */
const HAS_LONG_INTEGER = /\d{16}/

function parseJson(json: string): unknown {
  try {
    // JSON.parse is much faster, and exact for nearly every record.
    return HAS_LONG_INTEGER.test(json) ? parseLossless(json, null, parseNumber) : JSON.parse(json)
  } catch {
    throw new DamagedRecordError('not JSON')
  }
}

function parseNumber(digits: string): number | bigint {
  const number = Number(digits)
  return Number.isSafeInteger(number) || !/^-?\d+$/.test(digits) ? number : BigInt(digits)
}

// ISO 8601 without a zone means UTC here, while Date.parse reads it as local time.
function parseTimeText(value: string): number {
  if (/^-?\d+(\.\d+)?$/.test(value)) return Number(value)
  const hasZone = /(Z|[+-]\d\d:?\d\d)$/i.test(value)
  return Date.parse(hasZone || !value.includes(':') ? value : `${value}Z`) / 1000
}
