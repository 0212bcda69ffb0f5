import type { Logger } from 'pino'
import { type Actor, actorName, isAdmin, requireSelfOrAdmin } from '../../domain/actor.ts'
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

/** Finds what is on record about tokens, and decides who may see it. */
export class TokenQueries {
  readonly #deps: TokenQueriesDeps

  constructor(deps: TokenQueriesDeps) {
    this.#deps = deps
  }

  /**
   * The record of a token that the token store has just vouched for.
   *
   * @param selection What the GraphQL query asks for; narrows the SQL.
   * @throws {UnauthenticatedError} The database does not know it: the stores are desynchronised.
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
   * What the actor may see: everything for admins, else one's own, with `user:token`. Made for one
   * request, whose questions it asks together.
   *
   * @throws {PorthorError} `PERMISSION_DENIED`
   */
  viewFor(actor: Actor): TokenView {
    requireSelfOrAdmin(actor, actorName(actor))
    const { tokens, history } = this.#deps
    return new TokenView({ tokens, history, username: isAdmin(actor) ? null : actorName(actor) })
  }
}
