import DataLoader from 'dataloader'
import type { Visibility } from '../../domain/actor.ts'
import { notFound, PorthorError } from '../../domain/errors.ts'
import { type ChangeFilter, parseTokenKey, requireSearchable, type TokenFilter } from '../../domain/filter.ts'
import type { Page, PageRequest } from '../../domain/page.ts'
import type { ChangeRow, HistoryListing } from '../../stores/database/history-listing.ts'
import type { TokenRow, TokenSelection } from '../../stores/database/token-database.ts'
import type { TokenListing } from '../../stores/database/token-listing.ts'

export interface TokenViewDeps {
  readonly tokens: TokenListing
  readonly history: HistoryListing
  readonly visibility: Visibility
}

/**
 * Maximum number of rows that one request may list over all pages. Lists nest, and each level multiplies the level above
 * it.
 */
const MAX_ROWS = 5_000

/** A page of the children or of the history of one token. */
interface EdgeRequest {
  readonly key: string
  readonly page: PageRequest
}

const EMPTY_PAGE = { rows: [], hasNextPage: false, hasPreviousPage: false } as const

/**
 * Tokens and their history as one actor may see them, during one request. A field of several tokens, as in a level of a
 * GraphQL query, costs one statement.
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
    const { tokens, history, visibility } = deps
    this.#parents = batched((keys) => tokens.parentsOf(keys, visibility), null)
    this.#children = this.#paged((keys, page, maxRows) => tokens.childrenOf(keys, visibility, page, maxRows))
    this.#childCounts = batched((keys) => tokens.countChildrenOf(keys, visibility), 0)
    this.#changes = this.#paged((keys, page, maxRows) => history.changesOf(keys, visibility, page, maxRows))
    this.#changeCounts = batched((keys) => history.countChangesOf(keys, visibility), 0)
    this.#expiryChanges = batched((ids) => history.expiryChangesOf(ids), false)
  }

  /** @throws {PorthorError} `NOT_FOUND`, if there is no such token or it is not visible. */
  async get(key: string, selection: TokenSelection): Promise<TokenRow> {
    const row = await this.#deps.tokens.find(parseTokenKey(key), this.#deps.visibility, selection)
    if (row) return row
    throw notFound(key)
  }

  /**
   * @throws {PorthorError} `PERMISSION_DENIED`, if the filter names a user whose tokens are not visible;
   *   `INVALID_PAGE_SIZE`, if the pages of this request have too many rows in all.
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

  /** Returns the parent, or `null` if there is none or it is not visible. */
  parentOf(key: string): Promise<TokenRow | null> {
    return this.#parents.load(key)
  }

  /** @throws {PorthorError} `INVALID_PAGE_SIZE`, if the pages of this request have too many rows in all. */
  childrenOf(key: string, page: PageRequest): Promise<Page<TokenRow>> {
    return this.#children.load({ key, page })
  }

  countChildrenOf(key: string): Promise<number> {
    return this.#childCounts.load(key)
  }

  /** @throws {PorthorError} `INVALID_PAGE_SIZE`, if the pages of this request have too many rows in all. */
  changesOf(key: string, page: PageRequest): Promise<Page<ChangeRow>> {
    return this.#changes.load({ key, page })
  }

  countChangesOf(key: string): Promise<number> {
    return this.#changeCounts.load(key)
  }

  /** Whether a history event changed the expiry. Its own columns do not show that if the token never expired before. */
  changedExpiry({ id, action, expiresAt, oldExpiresAt }: ChangeRow): Promise<boolean> | boolean {
    if (action !== 'edit') return false
    if (oldExpiresAt !== null) return oldExpiresAt.getTime() !== expiresAt?.getTime()
    return this.#expiryChanges.load(id)
  }

  /**
   * Returns a loader of pages, with one query for each distinct page; a level without aliases has one. The queries of a
   * request run one after the other, so that each reads at most the rows that the earlier ones have left.
   */
  #paged<Row>(
    query: (
      keys: readonly string[],
      page: PageRequest,
      maxRows: number,
    ) => Promise<ReadonlyMap<string, Page<Row>>>,
  ): DataLoader<EdgeRequest, Page<Row>> {
    const load = async (requests: readonly EdgeRequest[]) => {
      const pages = new Map<EdgeRequest, Page<Row>>()
      for (const group of groupByPage(requests)) {
        this.#spendRows(0)
        const keys = [...new Set(group.map(({ key }) => key))]
        // One more row for each key shows whether its list continues, and one more whether these are too many.
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

  /** Returns a page of a whole list, after the earlier queries of the request. */
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
      `The pages of one request may have at most ${MAX_ROWS} rows in all: request smaller pages or fewer levels.`,
    )
  }

  /** Returns the filter of what is visible. */
  #visible<F extends TokenFilter | ChangeFilter>(filter: F): F {
    requireSearchable(filter)
    const { visibility } = this.#deps
    if (visibility === null) return filter
    const { username = visibility } = filter
    if (username === visibility) return { ...filter, username }
    throw new PorthorError(
      'PERMISSION_DENIED',
      `Without the scope admin:token, you can list only the tokens and history of ${visibility}: leave out username.`,
    )
  }
}

/**
 * Returns a loader over a query for many keys at once; it loads `absent` for keys that the query does not return. It
 * caches nothing: a mutation may change what a later field of the same request reads.
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

/** Groups requests for the same page. */
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
