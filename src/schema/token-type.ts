import { TOKEN_TYPES, type TokenType as TokenTypeName } from '../domain/token.ts'
import { builder } from './builder.ts'

const DESCRIPTIONS: Readonly<Record<TokenTypeName, string>> = {
  session: 'Made when a user logs in; lives for the token lifetime.',
  user: 'Made by a user, or an admin, to carry about; has a name.',
  notebook: "Delegated to the user's notebook, with all the parent's scopes.",
  internal: "Delegated to one service, with some of the parent's scopes.",
  service: 'Made by an admin for a bot.',
  oidc: 'Made by Gafaelfawr for an OpenID Connect client. Shown here, but it cannot act.',
}

export const TokenType = builder.enumType('TokenType', {
  description: 'The kinds of token.',
  values: Object.fromEntries(
    TOKEN_TYPES.map((type) => [type.toUpperCase(), { value: type, description: DESCRIPTIONS[type] }]),
  ) as Record<Uppercase<TokenTypeName>, { value: TokenTypeName; description: string }>,
})
