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

/** Trees that one transaction ends. */
const TREE_BATCH_SIZE = 100

const ORIGIN = { actor: INTERNAL_ACTOR, ipAddress: null }

/**
 * Ends delegated tokens whose parent is gone, with all that was delegated from them. Porthor leaves none behind; a
 * Gafaelfawr that deletes a parent does, of those that are delegated meanwhile.
 */
export class OrphanService {
  readonly #deps: OrphanServiceDeps

  constructor(deps: OrphanServiceDeps) {
    this.#deps = deps
  }

  /**
   * Ends all orphans that there are.
   *
   * @returns How many tokens ended, those below the orphans included.
   * @throws {UnavailableError} What has ended until then stays so.
   */
  async revokeAll(): Promise<number> {
    const { orphans } = this.#deps
    let ended = 0
    for (;;) {
      const count = await this.#end(await orphans.findOrphans(this.#now()))
      if (count === 0) break
      ended += count
    }
    for await (const keys of orphans.findWithoutLineage(this.#now())) ended += await this.#end(keys)
    return ended
  }

  /** The same for what was delegated from tokens that are gone, in this process or any other. */
  async revokeChildrenOf(parents: readonly TokenKey[]): Promise<number> {
    return this.#end(await this.#deps.orphans.findOrphansOf(parents, this.#now()))
  }

  /** None of `keys` can get a parent again: it is enough that their rows are still there. */
  async #end(keys: readonly TokenKey[]): Promise<number> {
    let ended = 0
    for (const slice of slicesOf(keys, TREE_BATCH_SIZE)) {
      const gone = await this.#deps.database.changeTrees(async (tx) => {
        const levels = await lockTrees(tx, await tx.lockAll(slice))
        const deepestFirst = levels.flatMap((level) => level.map(({ key }) => key)).reverse()
        await this.#deps.tokens.delete(deepestFirst)
        await tx.revoke(deepestFirst, ORIGIN, this.#now())
        return deepestFirst
      })
      for (const tokenKey of gone) this.#deps.log.warn({ tokenKey }, 'revoked a token whose parent is gone')
      ended += gone.length
    }
    return ended
  }

  #now(): Date {
    return this.#deps.clock.nowToSecond()
  }
}
