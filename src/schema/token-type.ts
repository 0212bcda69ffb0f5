import { TOKEN_TYPES, type TokenType as TokenTypeName } from '../domain/token.ts'
import { builder } from './builder.ts'

const DESCRIPTIONS: Readonly<Record<TokenTypeName, string>> = {
  session: 'Session of a user who has logged in. Expires after the token lifetime.',
  user: 'User token (personal access token), with a name.',
  notebook: "Token delegated to the user's notebook, with all scopes of its parent that may be delegated.",
  internal: 'Token delegated to one service, with some of the scopes of its parent.',
  service: 'Token of a bot, created by an admin.',
  oidc: 'Token that Gafaelfawr issued to an OpenID Connect client. Porthor lists and revokes it, but does not accept it.',
}

export const TokenType = builder.enumType('TokenType', {
  description: 'Type of a token.',
  values: Object.fromEntries(
    TOKEN_TYPES.map((type) => [type.toUpperCase(), { value: type, description: DESCRIPTIONS[type] }]),
  ) as Record<Uppercase<TokenTypeName>, { value: TokenTypeName; description: string }>,
})
