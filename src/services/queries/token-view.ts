import DataLoader from 'dataloader'
import { notFound, PorthorError } from '../../domain/errors.ts'
import {
  type ChangeFilter,
  requireFindable,
  requireSearchable,
  type TokenFilter,
} from '../../domain/filter.ts'
import type { Page, PageRequest } from '../../domain/page.ts'
import { toTokenKey } from '../../domain/token.ts'
import type { ChangeRow, HistoryListing } from '../../stores/database/history-listing.ts'
import type { TokenRow, TokenSelection } from '../../stores/database/token-database.ts'
import type { TokenListing, Visibility } from '../../stores/database/token-listing.ts'

export interface TokenViewDeps {
  readonly tokens: TokenListing
  readonly history: HistoryListing
  /** Whose tokens are visible; `null` for everybody's. */
  readonly username: Visibility
}

/**
 * Rows of lists that one request may be given over all pages. Lists nest, and each level multiplies the one above it:
 * this is what ends a query that asks for more than anyone would read.
 */
const MAX_ROWS = 5_000

/** A page of what hangs on one token. */
interface EdgeRequest {
  readonly key: string
  readonly page: PageRequest
}

const EMPTY_PAGE = { rows: [], hasNextPage: false, hasPreviousPage: false } as const

/**
 * Tokens and their history as one actor may see them, for the length of one request. What is asked for
 * several tokens at once, as by a level of a GraphQL query, costs one statement.
 */
export class TokenView {
  readonly #deps: TokenViewDeps
  readonly #parents: DataLoader<string, TokenRow | null>
  readonly #children: DataLoader<EdgeRequest, Page<TokenRow>>
  readonly #childCounts: DataLoader<string, number>
  readonly #changes: DataLoader<EdgeRequest, Page<ChangeRow>>
  readonly #changeCounts: DataLoader<string, number>
  readonly #expiryChanges: DataLoader<number, boolean>
  #rowsLeft = MAX_ROWS
  #lastTurn: Promise<unknown> = Promise.resolve()

  constructor(deps: TokenViewDeps) {
    this.#deps = deps
    const { tokens, history, username } = deps
    this.#parents = batched((keys) => tokens.parentsOf(keys, username), null)
    this.#children = this.#paged((keys, page, most) => tokens.childrenOf(keys, username, page, most))
    this.#childCounts = batched((keys) => tokens.countChildrenOf(keys, username), 0)
    this.#changes = this.#paged((keys, page, most) => history.changesOf(keys, username, page, most))
    this.#changeCounts = batched((keys) => history.countChangesOf(keys, username), 0)
    this.#expiryChanges = batched((ids) => history.expiryChangesOf(ids), false)
  }

  /** @throws {PorthorError} `NOT_FOUND`, whether there is no such token or it is not visible. */
  async get(key: string, selection: TokenSelection): Promise<TokenRow> {
    requireFindable(key)
    const row = await this.#deps.tokens.find(toTokenKey(key), this.#deps.username, selection)
    if (row) return row
    throw notFound(key)
  }

  /**
   * @throws {PorthorError} `PERMISSION_DENIED`, when the filter names another user than the visible one;
   *   `INVALID_PAGE_SIZE`, when the pages of this request add up to too many rows.
   */
  async tokens(filter: TokenFilter, page: PageRequest): Promise<Page<TokenRow>> {
    const visible = this.#visible(filter)
    return this.#listed(() => this.#deps.tokens.list(visible, page))
  }

  countTokens(filter: TokenFilter): Promise<number> {
    return this.#deps.tokens.count(this.#visible(filter))
  }

  /** @throws {PorthorError} As `tokens`. */
  async changes(filter: ChangeFilter, page: PageRequest): Promise<Page<ChangeRow>> {
    const visible = this.#visible(filter)
    return this.#listed(() => this.#deps.history.list(visible, page))
  }

  countChanges(filter: ChangeFilter): Promise<number> {
    return this.#deps.history.count(this.#visible(filter))
  }

  /** The parent, or `null` where there is none or it is not visible. */
  parentOf(key: string): Promise<TokenRow | null> {
    return this.#parents.load(key)
  }

  /** @throws {PorthorError} `INVALID_PAGE_SIZE`, when the pages of this request add up to too many rows. */
  childrenOf(key: string, page: PageRequest): Promise<Page<TokenRow>> {
    return this.#children.load({ key, page })
  }

  countChildrenOf(key: string): Promise<number> {
    return this.#childCounts.load(key)
  }

  /** @throws {PorthorError} `INVALID_PAGE_SIZE`, when the pages of this request add up to too many rows. */
  changesOf(key: string, page: PageRequest): Promise<Page<ChangeRow>> {
    return this.#changes.load({ key, page })
  }

  countChangesOf(key: string): Promise<number> {
    return this.#changeCounts.load(key)
  }

  /** Whether an entry changed the expiry, which its own columns do not tell where it had been endless. */
  changedExpiry({ id, action, expiresAt, oldExpiresAt }: ChangeRow): Promise<boolean> | boolean {
    if (action !== 'edit') return false
    if (oldExpiresAt !== null) return oldExpiresAt.getTime() !== expiresAt?.getTime()
    return this.#expiryChanges.load(id)
  }

  /**
   * A loader of pages: one query for each page that is asked for; a level without aliases asks for one. The
   * queries of a request go in turn, so that none reads more rows than those before it have left.
   */
  #paged<Row>(
    query: (
      keys: readonly string[],
      page: PageRequest,
      mostRows: number,
    ) => Promise<ReadonlyMap<string, Page<Row>>>,
  ): DataLoader<EdgeRequest, Page<Row>> {
    const load = async (requests: readonly EdgeRequest[]) => {
      const pages = new Map<EdgeRequest, Page<Row>>()
      for (const group of groupByPage(requests)) {
        this.#spendRows(0)
        const keys = [...new Set(group.map(({ key }) => key))]
        // A row more for each key may tell that its list goes on, and one more that these are too many.
        const found = await query(keys, group[0].page, this.#rowsLeft + keys.length + 1)
        for (const request of group) {
          const page = found.get(request.key) ?? EMPTY_PAGE
          this.#spendRows(page.rows.length)
          pages.set(request, page)
        }
      }
      return requests.map((request) => pages.get(request) ?? EMPTY_PAGE)
    }
    return new DataLoader((requests: readonly EdgeRequest[]) => this.#inTurn(() => load(requests)), {
      cache: false,
    })
  }

  /** A page of a whole list, in its turn as those of edges. */
  #listed<Row>(query: () => Promise<Page<Row>>): Promise<Page<Row>> {
    return this.#inTurn(async () => {
      this.#spendRows(0)
      const page = await query()
      this.#spendRows(page.rows.length)
      return page
    })
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#lastTurn.then(work)
    this.#lastTurn = turn.catch(() => undefined)
    return turn
  }

  #spendRows(count: number): void {
    this.#rowsLeft -= count
    if (this.#rowsLeft >= 0) return
    throw new PorthorError(
      'INVALID_PAGE_SIZE',
      `The pages of one request may hold ${MAX_ROWS} rows in all: ask for smaller pages or fewer levels.`,
    )
  }

  #visible<F extends TokenFilter | ChangeFilter>(filter: F): F {
    requireSearchable(filter)
    const { username } = this.#deps
    if (username === null) return filter
    if (filter.username === undefined || filter.username === username) return { ...filter, username }
    throw new PorthorError(
      'PERMISSION_DENIED',
      `Without admin:token only the tokens of ${username} can be listed.`,
    )
  }
}

/**
 * A loader over a query that answers for many keys at once; `absent` for those it does not mention. It
 * remembers nothing: a mutation may have changed what a later field of the same request reads.
 */
function batched<K, V, A>(
  query: (keys: readonly K[]) => Promise<ReadonlyMap<K, V>>,
  absent: A,
): DataLoader<K, V | A> {
  const load = async (keys: readonly K[]) => {
    const found = await query([...new Set(keys)])
    return keys.map((key) => found.get(key) ?? absent)
  }
  return new DataLoader(load, { cache: false })
}

/** Requests for the same page, together. */
function groupByPage(requests: readonly EdgeRequest[]): Iterable<readonly [EdgeRequest, ...EdgeRequest[]]> {
  const groups = new Map<string, [EdgeRequest, ...EdgeRequest[]]>()
  for (const request of requests) {
    const id = JSON.stringify(request.page)
    const group = groups.get(id)
    if (group) group.push(request)
    else groups.set(id, [request])
  }
  return groups.values()
}
