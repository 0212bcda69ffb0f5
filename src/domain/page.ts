import { PorthorError } from './errors.ts'

/** Arguments of a connection, as in the Relay specification. */
export interface PageArguments {
  readonly first?: number | null | undefined
  readonly after?: string | null | undefined
  readonly last?: number | null | undefined
  readonly before?: string | null | undefined
}

/** Position of a row in a list that is ordered by time and then by a tie-breaker, newest first. */
export interface Position {
  readonly at: Date
  /** Key of a token, or number of a history event. */
  readonly tie: string
}

/** A page to fetch: at most `size` rows after `after` and before `before`, from one of the two ends. */
export interface PageRequest {
  readonly size: number
  readonly from: 'start' | 'end'
  readonly after: Position | null
  readonly before: Position | null
}

/** Rows in list order, and whether there are more on either side. */
export interface Page<Row> {
  readonly rows: readonly Row[]
  readonly hasNextPage: boolean
  readonly hasPreviousPage: boolean
}

const DEFAULT_PAGE_SIZE = 50
const MAX_PAGE_SIZE = 500

/** List that a cursor belongs to; a cursor of one list is not valid in the other. */
export type ListKind = 'token' | 'change'

/** Returns an opaque cursor for a position. It stays valid without its row: the page begins where the row was. */
export const formatCursor = (kind: ListKind, { at, tie }: Position): string =>
  Buffer.from(`${kind}/${at.getTime()}/${tie}`).toString('base64url')

const TIES: Readonly<Record<ListKind, RegExp>> = { token: /^[^\0]{1,64}$/, change: /^\d{1,10}$/ }

/** Largest number of a history event, an integer of 32 bits. */
const MAX_ID = 2 ** 31 - 1

/** Last time whose year has four digits: Porthor writes no later cursor, and PostgreSQL would not read it. */
const LATEST = Date.UTC(9999, 11, 31, 23, 59, 59, 999)

/** @throws {PorthorError} `INVALID_CURSOR` */
export function parseCursor(kind: ListKind, cursor: string): Position {
  const [found, milliseconds = '', ...rest] = Buffer.from(cursor, 'base64url').toString('utf8').split('/')
  const tie = rest.join('/')
  const at = new Date(/^\d{1,15}$/.test(milliseconds) ? Number(milliseconds) : Number.NaN)
  const isValid = found === kind && at.getTime() <= LATEST && TIES[kind].test(tie)
  if (isValid && !(kind === 'change' && Number(tie) > MAX_ID)) return { at, tie }
  throw new PorthorError('INVALID_CURSOR', 'after and before must be cursors from a page of the same list.')
}

/**
 * Parses the arguments of a connection. `before` alone selects the page that ends there.
 *
 * @throws {PorthorError} `INVALID_PAGE_SIZE`, `INVALID_CURSOR`
 */
export function parsePage(kind: ListKind, { first, after, last, before }: PageArguments): PageRequest {
  if (first != null && last != null) {
    throw new PorthorError('INVALID_PAGE_SIZE', 'first and last must not be given together: use one of them.')
  }
  const size = first ?? last ?? DEFAULT_PAGE_SIZE
  if (size < 1 || size > MAX_PAGE_SIZE) {
    throw new PorthorError('INVALID_PAGE_SIZE', `first and last must be 1 to ${MAX_PAGE_SIZE}.`, {
      facts: { minimum: 1, maximum: MAX_PAGE_SIZE },
    })
  }
  const isFromEnd = last != null || (first == null && before != null && after == null)
  return {
    size,
    from: isFromEnd ? 'end' : 'start',
    after: after == null ? null : parseCursor(kind, after),
    before: before == null ? null : parseCursor(kind, before),
  }
}

/**
 * Returns the page of up to `size + 1` rows, fetched from the end that the request names: one row more than `size` means
 * that there are more. A page that a cursor begins or ends has a neighbour on the cursor's side.
 */
export function toPage<Row>(fetched: readonly Row[], { size, from, after, before }: PageRequest): Page<Row> {
  const hasMore = fetched.length > size
  const rows = fetched.slice(0, size)
  return from === 'start'
    ? { rows, hasNextPage: hasMore || before !== null, hasPreviousPage: after !== null }
    : { rows: rows.reverse(), hasNextPage: before !== null, hasPreviousPage: hasMore || after !== null }
}
