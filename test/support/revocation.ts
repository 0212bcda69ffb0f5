import type pg from 'pg'
import type { TokenKey } from '../../src/domain/token.ts'
import type { TokenStore } from '../../src/stores/token-store/token-store.ts'

/**
 * A revoke, step by step, so that a test can stop between the steps. Does what rule 8 says, in SQL of its
 * own: locks each level of the tree before it lists the next one, then ends every token it has found.
 */
export class Revocation {
  readonly #client: pg.Client
  readonly #tokens: TokenStore
  readonly #locked: TokenKey[] = []
  #next: TokenKey[]

  constructor(client: pg.Client, tokens: TokenStore, key: TokenKey) {
    this.#client = client
    this.#tokens = tokens
    this.#next = [key]
  }

  async begin(): Promise<void> {
    await this.#client.query('BEGIN')
  }

  /** Locks the next level, the named token being the first, and lists the one below. */
  async lockLevel(): Promise<void> {
    const { rows: locked } = await this.#client.query<{ token: TokenKey }>(
      'SELECT token FROM token WHERE token = ANY ($1) ORDER BY token FOR UPDATE',
      [this.#next],
    )
    this.#locked.push(...locked.map(({ token }) => token))
    const { rows: below } = await this.#client.query<{ child: TokenKey }>(
      'SELECT child FROM subtoken WHERE parent = ANY ($1)',
      [this.#next],
    )
    this.#next = below.map(({ child }) => child)
  }

  async lockAll(): Promise<void> {
    while (this.#next.length > 0) await this.lockLevel()
  }

  async deleteEntries(): Promise<void> {
    await this.#tokens.delete(this.#locked)
  }

  async deleteRowsAndCommit(): Promise<void> {
    await this.#client.query('DELETE FROM token WHERE token = ANY ($1)', [this.#locked])
    await this.#client.query('COMMIT')
  }

  /** All the steps that are left. */
  async finish(): Promise<TokenKey[]> {
    await this.lockAll()
    await this.deleteEntries()
    await this.deleteRowsAndCommit()
    return this.#locked
  }
}
