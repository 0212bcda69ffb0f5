import type pg from 'pg'
import type { TokenKey } from '../../../src/domain/token.ts'
import type { TokenStore } from '../../../src/stores/token-store/token-store.ts'

/**
 * A revocation as a Gafaelfawr on the same stores does it, step by step. It lists the descendants, deletes record and row of
 * each, and takes none of Porthor's locks.
 */
export class GafaelfawrRevocation {
  readonly #client: pg.Client
  readonly #tokens: Pick<TokenStore, 'delete'>
  readonly #root: TokenKey
  #keys: readonly TokenKey[] = []

  constructor(client: pg.Client, tokens: Pick<TokenStore, 'delete'>, root: TokenKey) {
    this.#client = client
    this.#tokens = tokens
    this.#root = root
  }

  /** Lists the tree; what is issued later is not in it. */
  async begin(): Promise<void> {
    await this.#client.query('BEGIN')
    const { rows } = await this.#client.query<{ token: TokenKey }>(
      `WITH RECURSIVE tree (token, depth) AS (
         SELECT $1::varchar COLLATE "C", 0
         UNION ALL
         SELECT child, depth + 1 FROM tree JOIN subtoken ON parent = token)
       SELECT token FROM tree ORDER BY depth DESC`,
      [this.#root],
    )
    this.#keys = rows.map(({ token }) => token)
  }

  /** Deletes children before their parents. */
  async deleteTokens(): Promise<void> {
    for (const key of this.#keys) {
      await this.#tokens.delete([key])
      await this.#client.query('DELETE FROM token WHERE token = $1', [key])
    }
  }

  async commit(): Promise<void> {
    await this.#client.query('COMMIT')
  }
}
