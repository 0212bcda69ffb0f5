import type { Logger } from 'pino'
import { INTERNAL_ACTOR } from '../../domain/history.ts'
import type { TokenKey } from '../../domain/token.ts'
import type { Clock } from '../../lib/clock.ts'
import { slicesOf } from '../../lib/slices.ts'
import type { OrphanDatabase } from '../../stores/database/orphan-database.ts'
import type { TokenDatabase } from '../../stores/database/token-database.ts'
import type { TokenStore } from '../../stores/token-store/token-store.ts'
import { lockTrees } from '../tokens/token-tree.ts'

export interface OrphanServiceDeps {
  readonly orphans: OrphanDatabase
  readonly tokens: TokenStore
  readonly database: TokenDatabase
  readonly clock: Clock
  readonly log: Logger
}

/** Trees that one transaction revokes. */
const TREE_BATCH_SIZE = 100

const ORIGIN = { actor: INTERNAL_ACTOR, ipAddress: null }

/**
 * Revokes delegated tokens whose parent is missing, with their descendants. Porthor creates no orphans; Gafaelfawr does when
 * a token is delegated while it deletes the parent.
 */
export class OrphanService {
  readonly #deps: OrphanServiceDeps

  constructor(deps: OrphanServiceDeps) {
    this.#deps = deps
  }

  /**
   * Revokes all orphans.
   *
   * @returns The number of revoked tokens, with the descendants of orphans.
   * @throws {UnavailableError} What was revoked before stays revoked.
   */
  async revokeAll(): Promise<number> {
    const { orphans } = this.#deps
    let revoked = 0
    for (;;) {
      const count = await this.#revoke(await orphans.findOrphans(this.#now()))
      if (count === 0) break
      revoked += count
    }
    for await (const keys of orphans.findWithoutLineage(this.#now())) revoked += await this.#revoke(keys)
    return revoked
  }

  /** As `revokeAll`, for the children of tokens that have been deleted, whichever process issued them. */
  async revokeChildrenOf(parents: readonly TokenKey[]): Promise<number> {
    return this.#revoke(await this.#deps.orphans.findOrphansOf(parents, this.#now()))
  }

  /** An orphan never gets a parent again, so that its row needs no other check. */
  async #revoke(keys: readonly TokenKey[]): Promise<number> {
    let count = 0
    for (const slice of slicesOf(keys, TREE_BATCH_SIZE)) {
      const revoked = await this.#deps.database.changeTrees(async (tx) => {
        const levels = await lockTrees(tx, await tx.lockAll(slice))
        const deepestFirst = levels.flatMap((level) => level.map(({ key }) => key)).reverse()
        await this.#deps.tokens.delete(deepestFirst)
        await tx.revoke(deepestFirst, ORIGIN, this.#now())
        return deepestFirst
      })
      for (const tokenKey of revoked)
        this.#deps.log.warn({ tokenKey }, 'revoked a token whose parent is missing')
      count += revoked.length
    }
    return count
  }

  #now(): Date {
    return this.#deps.clock.nowToSecond()
  }
}
