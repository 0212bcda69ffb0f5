import type { Logger } from 'pino'
import { PorthorError } from '../../domain/errors.ts'
import { INTERNAL_ACTOR } from '../../domain/history.ts'
import type { Clock } from '../../lib/clock.ts'
import type { TokenDatabase } from '../../stores/database/token-database.ts'
import type { TreeTransaction } from '../../stores/database/tree-transaction.ts'
import type { TokenStore } from '../../stores/token-store/token-store.ts'
import { lockTrees } from './token-tree.ts'

export interface TokenNamesDeps {
  readonly tokens: TokenStore
  readonly database: TokenDatabase
  readonly clock: Clock
  readonly log: Logger
}

/** Whose name it is that a token is to get. */
export interface OwnedName {
  readonly username: string
  readonly tokenName: string
}

const ORIGIN = { actor: INTERNAL_ACTOR, ipAddress: null }

/**
 * Frees names whose token nobody can have: a row without a record, as where the token store has lost it, or the answer
 * to its creation was lost and the record taken back.
 */
export class TokenNames {
  readonly #deps: TokenNamesDeps

  constructor(deps: TokenNamesDeps) {
    this.#deps = deps
  }

  /**
   * Does `work`, and once more where it fails for a name that is free.
   *
   * @param nameOf What `work` wants to be called; `undefined` where it needs no name.
   * @throws {PorthorError} `DUPLICATE_TOKEN_NAME`, where a token of that name has a record.
   * @throws {UnavailableError} Whether the name is free is not known.
   */
  async withFreeName<T>(
    nameOf: () => OwnedName | undefined | Promise<OwnedName | undefined>,
    work: () => Promise<T>,
  ): Promise<T> {
    try {
      return await work()
    } catch (error) {
      const name =
        error instanceof PorthorError && error.code === 'DUPLICATE_TOKEN_NAME' ? await nameOf() : undefined
      if (!name || !(await this.#free(name))) throw error
      return await work()
    }
  }

  /** Answers whether the name can be taken now. */
  async #free({ username, tokenName }: OwnedName): Promise<boolean> {
    return this.#deps.database.changeTrees(async (tx) => {
      const token = await tx.lockNamed(username, tokenName)
      if (!token) return true
      const entry = (await this.#deps.tokens.inspect([token.key])).get(token.key)
      // What another encryption key opens may be the record of a live token.
      if (entry && ('data' in entry || entry.encryptedAt)) return false
      await this.#end(tx, token)
      return true
    })
  }

  async #end(tx: TreeTransaction, token: Parameters<typeof lockTrees>[1][number]): Promise<void> {
    const levels = await lockTrees(tx, [token])
    const deepestFirst = levels.flatMap((level) => level.map(({ key }) => key)).reverse()
    await this.#deps.tokens.delete(deepestFirst)
    await tx.revoke(deepestFirst, ORIGIN, this.#deps.clock.nowToSecond())
    for (const tokenKey of deepestFirst) {
      this.#deps.log.warn({ tokenKey }, 'revoked a token without a record: its name was asked for')
    }
  }
}
