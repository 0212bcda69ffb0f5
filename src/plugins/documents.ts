import {
  BREAK,
  type DocumentNode,
  GraphQLError,
  type GraphQLSchema,
  Kind,
  specifiedRules,
  validate,
  visit,
} from 'graphql'
import type { Plugin } from 'graphql-yoga'
import { findExcess } from './document-limits.ts'
import { parseDocument } from './parse-document.ts'
import { findSecondToken, tokenIssuingFields } from './token-issuing.ts'

/** Errors of one document that are reported; graphql-js adds one more, which says that there are others. */
const MAX_VALIDATION_ERRORS = 20

export interface DocumentsOptions {
  readonly schema: GraphQLSchema
  /** Whether a document may ask for the schema at all. */
  readonly introspection: boolean
  /** Whether an error names what could have been meant. To look for that costs more than to validate. */
  readonly suggestions: boolean
}

/** A document that was read: it may be executed if it has no errors. */
export interface PreparedDocument {
  /** `undefined` where it could not be parsed. */
  readonly document: DocumentNode | undefined
  readonly errors: readonly GraphQLError[]
}

/** Parses and validates documents, each once: within bounds on what that may cost. */
export class Documents {
  readonly #options: DocumentsOptions
  readonly #issuing: ReadonlySet<string>

  constructor(options: DocumentsOptions) {
    this.#options = options
    this.#issuing = tokenIssuingFields(options.schema)
  }

  prepare(text: string): PreparedDocument {
    let document: DocumentNode
    try {
      document = parseDocument(text)
    } catch (error) {
      if (error instanceof GraphQLError) return { document: undefined, errors: [error] }
      throw error
    }
    const refusal = findExcess(document) ?? this.#refusal(document)
    return { document, errors: refusal ? [refusal] : this.#validate(document) }
  }

  #refusal(document: DocumentNode): GraphQLError | undefined {
    if (!this.#options.introspection && introspects(document)) {
      return new GraphQLError('Introspection is off here: the schema is in schema.graphql of the package.')
    }
    return findSecondToken(document, this.#issuing)
  }

  #validate(document: DocumentNode): readonly GraphQLError[] {
    const { schema, suggestions } = this.#options
    return validate(schema, document, specifiedRules, {
      maxErrors: MAX_VALIDATION_ERRORS,
      hideSuggestions: !suggestions,
    })
  }
}

/** Whether a document asks for the schema. `__typename` does not. */
export function introspects(document: DocumentNode): boolean {
  let found = false
  visit(document, {
    [Kind.FIELD]: ({ name }) => {
      found ||= name.value === '__schema' || name.value === '__type'
      return found ? BREAK : undefined
    },
  })
  return found
}

/** What Yoga is given with a request. */
export interface WithPrepared {
  /** The document of the request, where it has been prepared already. */
  readonly prepared?: PreparedDocument | undefined
}

/** Has Yoga parse and validate by `documents`, and not again what was prepared before. */
export function useDocuments(documents: Documents): Plugin<WithPrepared> {
  const read = new WeakMap<DocumentNode, PreparedDocument>()
  return {
    onParse: ({ context, params: { source }, setParseFn }) => {
      setParseFn(() => {
        const prepared = context.prepared ?? documents.prepare(String(source))
        if (!prepared.document) throw prepared.errors[0]
        read.set(prepared.document, prepared)
        return prepared.document
      })
    },
    onValidate: ({ params: { documentAST }, setResult }) => {
      const errors = read.get(documentAST as DocumentNode)?.errors
      if (errors) setResult([...errors])
    },
  }
}
