import type { Logger } from 'pino'
import { mostGrave, toGraphQLError } from './graphql-error.ts'
import type { Finisher } from './operation.ts'

/** Gives every error of an execution its code, and replaces the text of unexpected errors. */
export const codeErrors =
  (log: Logger): Finisher =>
  ({ context }, result) =>
    result.errors
      ? {
          ...result,
          errors: mostGrave(result.errors).map((error) =>
            toGraphQLError(error, context.trace.requestId, log),
          ),
        }
      : result
