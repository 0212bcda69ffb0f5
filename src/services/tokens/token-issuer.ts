import type { Logger } from 'pino'
import type { Origin } from '../../domain/history.ts'
import { serviceOf, type TokenData, type TokenKey } from '../../domain/token.ts'
import type { ChildQuery } from '../../stores/database/child-query.ts'
import type { TokenDatabase, TokenTransaction } from '../../stores/database/token-database.ts'
import { withinMs, withMoreMs } from '../../stores/deadline.ts'
import type { TokenStore } from '../../stores/token-store/token-store.ts'
import { createWriteLimit } from './current-token.ts'

/** A token to be made: what the token store holds, and what only the database knows. */
export interface NewToken {
  readonly data: TokenData
  readonly tokenName: string | null
  readonly parentKey: TokenKey | null
}

/** Makes a token, but where there is a child as in `unless`. Answers whether it did. */
export type Issue = (token: NewToken, origin: Origin, unless?: ChildQuery) => Promise<boolean>

export interface TokenIssuerDeps {
  readonly tokens: TokenStore
  readonly database: TokenDatabase
  readonly log: Logger
}

/**
 * How long a creation may take, in milliseconds, with all that it waits for. What became of a lost COMMIT is looked up
 * after it, and records are taken back, so that every response comes within ten seconds.
 */
export const MAX_CREATION_MS = 7_000

/** How long records may take to be taken back, in milliseconds. */
export const TAKE_BACK_MS = 1_000

/** Makes tokens: the one place that knows in which order the two stores are written, and undone. */
export class TokenIssuer {
  readonly #deps: TokenIssuerDeps
  readonly #writeLimit = createWriteLimit()

  constructor(deps: TokenIssuerDeps) {
    this.#deps = deps
  }

  /**
   * Runs `work` in one transaction. What it issues is in both stores when this resolves, and in
   * neither when it throws. `work` may be run again, where PostgreSQL could not carry out the first try.
   *
   * The token store is written before the commit: should the process die in between, what is left is
   * a record that no one was given and that ends by itself, while a row without a record would be
   * listed and never work. If the transaction fails, the record is taken back.
   *
   * @param currentToken Whose creations wait their turn together, before they take a connection.
   */
  transaction<T>(currentToken: string, work: (tx: TokenTransaction, issue: Issue) => Promise<T>): Promise<T> {
    return withinMs(MAX_CREATION_MS, () => this.#writeLimit.run(currentToken, () => this.#transaction(work)))
  }

  async #transaction<T>(work: (tx: TokenTransaction, issue: Issue) => Promise<T>): Promise<T> {
    let issued: NewToken[] = []
    // Put by a run that was not committed: nobody is given them.
    const abandoned: NewToken[] = []
    const answer = await this.#deps.database
      .transaction(async (tx) => {
        abandoned.push(...issued)
        issued = []
        const answer = await work(tx, async (token, origin, unless) => {
          if (!(await tx.insert(toRecord(token), origin, unless))) return false
          issued.push(token)
          await this.#deps.tokens.put(token.data)
          return true
        })
        return answer
      })
      .catch(async (error: unknown) => {
        await this.#takeBack(keysOf([...abandoned, ...issued]))
        throw error
      })
    if (abandoned.length > 0) await this.#takeBack(keysOf(abandoned))
    for (const token of issued) this.#deps.log.info(describe(token), 'created token')
    return answer
  }

  async #takeBack(keys: readonly TokenKey[]): Promise<void> {
    try {
      await withMoreMs(TAKE_BACK_MS, () => this.#deps.tokens.delete(keys))
    } catch (error) {
      // The first fault is the one to report; what stays behind is in nobody's hands, and the audit finds it.
      this.#deps.log.error(
        { tokenKeys: keys, reason: String(error) },
        'could not take back token store entries',
      )
    }
  }
}

const keysOf = (tokens: readonly NewToken[]): TokenKey[] => tokens.map(({ data }) => data.token.key)

const toRecord = ({ data, tokenName, parentKey }: NewToken) => ({
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

const describe = ({ data, tokenName, parentKey }: NewToken) => ({
  tokenKey: data.token.key,
  tokenType: data.type,
  username: data.username,
  scopes: data.scopes,
  expiresAt: data.expiresAt,
  ...(tokenName !== null && { tokenName }),
  ...(parentKey !== null && { parentKey }),
  ...(data.type === 'internal' && { service: data.service }),
})
