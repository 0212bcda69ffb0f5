import { type DocumentNode, GraphQLError, Lexer, parse, Source, type Token, TokenKind } from 'graphql'

/** Lexical tokens of a document: far more than a person writes, far fewer than take long to parse. */
const MAX_TOKENS = 1_000

/** Comments of a document: the parser keeps each. */
const MAX_COMMENTS = 1_000

/** Characters of a name of a field, alias or operation. A response repeats an alias in every row. */
export const MAX_NAME_LENGTH = 128

/** Lexer that throws at the first name that is too long, before the parser quotes it in an error. */
class BoundedLexer extends Lexer {
  override advance(): Token {
    const token = super.advance()
    if (token.kind !== TokenKind.NAME || token.value.length <= MAX_NAME_LENGTH) return token
    throw new GraphQLError(`A name has more than ${MAX_NAME_LENGTH} characters.`, {
      source: this.source,
      positions: [token.start],
    })
  }
}

/** @throws {GraphQLError} The text is not a GraphQL document, or exceeds a limit. */
export function parseDocument(text: string): DocumentNode {
  const lexer = new BoundedLexer(new Source(text))
  return parse(lexer.source, { lexer, maxTokens: MAX_TOKENS, maxComments: MAX_COMMENTS })
}
