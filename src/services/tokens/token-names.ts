import type { Logger } from 'pino'
import { PorthorError } from '../../domain/errors.ts'
import { INTERNAL_ACTOR } from '../../domain/history.ts'
import type { Clock } from '../../lib/clock.ts'
import type { TokenDatabase } from '../../stores/database/token-database.ts'
import type { LockedToken, TreeTransaction } from '../../stores/database/tree-transaction.ts'
import type { TokenStore } from '../../stores/token-store/token-store.ts'
import { lockTrees } from './token-tree.ts'

export interface TokenNamesDeps {
  readonly tokens: TokenStore
  readonly database: TokenDatabase
  readonly clock: Clock
  readonly log: Logger
}

/** A token name, and the user whose tokens may not share it. */
export interface OwnedName {
  readonly username: string
  readonly tokenName: string
}

const ORIGIN = { actor: INTERNAL_ACTOR, ipAddress: null }

/**
 * Frees names of tokens that no client can use: their rows have no record, because the token store has lost it, or
 * because the creation failed after its commit.
 */
export class TokenNames {
  readonly #deps: TokenNamesDeps

  constructor(deps: TokenNamesDeps) {
    this.#deps = deps
  }

  /**
   * Runs `work`, and again if it fails because of a name that can be freed.
   *
   * @param findName The name that `work` needs; `undefined` for none.
   * @throws {PorthorError} `DUPLICATE_TOKEN_NAME`, if a token of that name has a record.
   * @throws {UnavailableError} It is not known whether the name can be freed.
   */
  async withFreeName<T>(
    findName: () => OwnedName | undefined | Promise<OwnedName | undefined>,
    work: () => Promise<T>,
  ): Promise<T> {
    try {
      return await work()
    } catch (error) {
      const name =
        error instanceof PorthorError && error.code === 'DUPLICATE_TOKEN_NAME' ? await findName() : undefined
      if (!name || !(await this.#free(name))) throw error
      return await work()
    }
  }

  /** Returns whether the name is free now. */
  async #free({ username, tokenName }: OwnedName): Promise<boolean> {
    return this.#deps.database.changeTrees(async (tx) => {
      const token = await tx.lockNamed(username, tokenName)
      if (!token) return true
      const record = (await this.#deps.tokens.inspect([token.key])).get(token.key)
      // A record that another encryption key decrypts may be that of a live token.
      if (record && ('data' in record || record.encryptedAt)) return false
      await this.#revoke(tx, token)
      return true
    })
  }

  async #revoke(tx: TreeTransaction, token: LockedToken): Promise<void> {
    const levels = await lockTrees(tx, [token])
    const deepestFirst = levels.flatMap((level) => level.map(({ key }) => key)).reverse()
    await this.#deps.tokens.delete(deepestFirst)
    await tx.revoke(deepestFirst, ORIGIN, this.#deps.clock.nowToSecond())
    for (const tokenKey of deepestFirst) {
      this.#deps.log.warn({ tokenKey }, 'revoked a token without a record: its name is used again')
    }
  }
}
