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

/** Validation errors of one document that are reported; graphql-js adds one more about the others. */
const MAX_VALIDATION_ERRORS = 20

export interface DocumentsOptions {
  readonly schema: GraphQLSchema
  /** Whether a document may read the schema. */
  readonly introspection: boolean
  /** Whether an error suggests similar names. The search for them costs more than the validation. */
  readonly suggestions: boolean
}

/** A document that was parsed and validated: it may be executed if it has no errors. */
export interface PreparedDocument {
  /** `undefined` if it could not be parsed. */
  readonly document: DocumentNode | undefined
  readonly errors: readonly GraphQLError[]
}

/** Parses and validates documents, each once, within limits on the cost. */
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
      return new GraphQLError('Introspection is off: read the schema in schema.graphql of the package.')
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

/** Whether a document reads the schema. `__typename` does not. */
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

/** Server context that Yoga gets with a request. */
export interface WithPrepared {
  /** Document of the request, if the fast path has prepared it. */
  readonly prepared?: PreparedDocument | undefined
}

/** Makes Yoga parse and validate with `documents`, and use a document that is prepared already. */
export function useDocuments(documents: Documents): Plugin<WithPrepared> {
  const preparedByDocument = new WeakMap<DocumentNode, PreparedDocument>()
  return {
    onParse: ({ context, params: { source }, setParseFn }) => {
      setParseFn(() => {
        const prepared = context.prepared ?? documents.prepare(String(source))
        if (!prepared.document) throw prepared.errors[0]
        preparedByDocument.set(prepared.document, prepared)
        return prepared.document
      })
    },
    onValidate: ({ params: { documentAST }, setResult }) => {
      const errors = preparedByDocument.get(documentAST as DocumentNode)?.errors
      if (errors) setResult([...errors])
    },
  }
}
