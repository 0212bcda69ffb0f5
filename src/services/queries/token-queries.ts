import type { Logger } from 'pino'
import { type Actor, actorName, requireSelfOrAdmin, visibilityOf } from '../../domain/actor.ts'
import { UnauthenticatedError } from '../../domain/errors.ts'
import type { TokenKey } from '../../domain/token.ts'
import type { HistoryListing } from '../../stores/database/history-listing.ts'
import type { TokenRow, TokenSelection } from '../../stores/database/token-database.ts'
import type { TokenListing } from '../../stores/database/token-listing.ts'
import { TokenView } from './token-view.ts'

export interface TokenQueriesDeps {
  readonly tokens: TokenListing
  readonly history: HistoryListing
  readonly log: Logger
}

/** Finds the rows of tokens and of their history, and decides who may see them. */
export class TokenQueries {
  readonly #deps: TokenQueriesDeps

  constructor(deps: TokenQueriesDeps) {
    this.#deps = deps
  }

  /**
   * Returns the row of a token that has just been authenticated.
   *
   * @param selection The columns that the GraphQL query selects.
   * @throws {UnauthenticatedError} The token has no row: the stores are desynchronised.
   */
  async getOwn(key: TokenKey, selection: TokenSelection): Promise<TokenRow> {
    const row = await this.#deps.tokens.find(key, null, selection)
    if (row) return row
    this.#deps.log.error(
      { tokenKey: key },
      'stores are desynchronised: a token is in the token store but not in the database',
    )
    throw new UnauthenticatedError('desynchronised')
  }

  /**
   * Returns what the actor may see: as an admin everything, else its user's own tokens, with `user:token`. Use one view
   * for one request: it combines the queries of that request.
   *
   * @throws {PorthorError} `PERMISSION_DENIED`
   */
  createView(actor: Actor): TokenView {
    requireSelfOrAdmin(actor, actorName(actor))
    const { tokens, history } = this.#deps
    return new TokenView({ tokens, history, visibility: visibilityOf(actor) })
  }
}
