import type { Logger } from 'pino'
import { mostSevere, toGraphQLError } from './graphql-error.ts'
import type { ResultHandler } from './operation.ts'

/** Gives every error of an execution its code, and replaces the text of unexpected errors. */
export const addErrorCodes =
  (log: Logger): ResultHandler =>
  ({ context }, result) =>
    result.errors
      ? {
          ...result,
          errors: mostSevere(result.errors).map((error) =>
            toGraphQLError(error, context.trace.requestId, log),
          ),
        }
      : result
