import type { Logger } from 'pino'
import type { Origin } from '../../domain/history.ts'
import { serviceOf, type TokenData, type TokenKey } from '../../domain/token.ts'
import type { ChildQuery } from '../../stores/database/child-query.ts'
import type { TokenDatabase, TokenTransaction } from '../../stores/database/token-database.ts'
import { withinMs, withMoreMs } from '../../stores/deadline.ts'
import type { TokenStore } from '../../stores/token-store/token-store.ts'
import { WriteLimit, type Writer } from './write-limit.ts'

/** A token to issue: its record, and what only the database has. */
export interface NewToken {
  readonly data: TokenData
  readonly tokenName: string | null
  readonly parentKey: TokenKey | null
}

/** An issued token, and who issued it. */
interface IssuedToken extends NewToken {
  readonly actor: string
}

/** Issues a token, unless there is a child that matches `unless`. Returns whether it issued the token. */
export type Issue = (token: NewToken, origin: Origin, unless?: ChildQuery) => Promise<boolean>

export interface TokenIssuerDeps {
  readonly tokens: TokenStore
  readonly database: TokenDatabase
  readonly log: Logger
}

/**
 * Maximum time of a creation with all that it waits for, in milliseconds. The outcome of a lost COMMIT is looked up after
 * it, and records are deleted again: so every response is sent within ten seconds.
 */
export const MAX_CREATION_MS = 7_000

/** Maximum time for deleting the records of a failed creation, in milliseconds. */
export const MAX_UNDO_MS = 1_000

/** Issues tokens: the only code that has the order in which the two stores are written, and undone. */
export class TokenIssuer {
  readonly #deps: TokenIssuerDeps
  readonly #writeLimit = new WriteLimit()

  constructor(deps: TokenIssuerDeps) {
    this.#deps = deps
  }

  /**
   * Runs `work` in one transaction. What it issues is in both stores when this resolves, and in neither when it throws.
   * `work` may be run again, if PostgreSQL could not carry out the first attempt.
   *
   * The token store is written before the commit. If the process is killed in between, only a record is left: no client
   * has its token, and it expires. A row without a record would be listed, and its token would never be valid. If the
   * transaction fails, the record is deleted again.
   *
   * @param writer Whose creation it is: those of one writer wait for each other.
   */
  transaction<T>(writer: Writer, work: (tx: TokenTransaction, issue: Issue) => Promise<T>): Promise<T> {
    return withinMs(MAX_CREATION_MS, () => this.#writeLimit.run(writer, () => this.#transaction(work)))
  }

  async #transaction<T>(work: (tx: TokenTransaction, issue: Issue) => Promise<T>): Promise<T> {
    let issued: IssuedToken[] = []
    // Written by an attempt that was not committed: no client gets them.
    const abandoned: IssuedToken[] = []
    const result = await this.#deps.database
      .transaction(async (tx) => {
        abandoned.push(...issued)
        issued = []
        return await work(tx, async (token, origin, unless) => {
          if (!(await tx.insert(toRow(token), origin, unless))) return false
          issued.push({ ...token, actor: origin.actor })
          await this.#deps.tokens.put(token.data)
          return true
        })
      })
      .catch(async (error: unknown) => {
        await this.#deleteRecords(keysOf([...abandoned, ...issued]))
        throw error
      })
    if (abandoned.length > 0) await this.#deleteRecords(keysOf(abandoned))
    for (const token of issued) this.#deps.log.info(describe(token), 'created token')
    return result
  }

  async #deleteRecords(keys: readonly TokenKey[]): Promise<void> {
    try {
      await withMoreMs(MAX_UNDO_MS, () => this.#deps.tokens.delete(keys))
    } catch (error) {
      // The first error is the one to report. No client has these tokens, and the audit finds their records.
      this.#deps.log.error(
        { tokenKeys: keys, reason: String(error) },
        'could not delete token store records of a failed creation',
      )
    }
  }
}

const keysOf = (tokens: readonly NewToken[]): TokenKey[] => tokens.map(({ data }) => data.token.key)

const toRow = ({ data, tokenName, parentKey }: NewToken) => ({
  key: data.token.key,
  username: data.username,
  type: data.type,
  tokenName,
  service: serviceOf(data),
  scopes: data.scopes,
  createdAt: data.createdAt,
  expiresAt: data.expiresAt,
  parentKey,
})

const describe = ({ data, tokenName, parentKey, actor }: IssuedToken) => ({
  tokenKey: data.token.key,
  tokenType: data.type,
  username: data.username,
  actor,
  scopes: data.scopes,
  expiresAt: data.expiresAt,
  ...(tokenName !== null && { tokenName }),
  ...(parentKey !== null && { parentKey }),
  ...(data.type === 'internal' && { service: data.service }),
})
