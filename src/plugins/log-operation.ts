import { getOperationAST } from 'graphql'
import type { Logger } from 'pino'
import type { Finisher } from './operation.ts'

/** One line per operation: who asked for what, how it ended, and how long it took. Never a token. */
export const logOperation =
  (log: Logger): Finisher =>
  ({ document, operationName, context, startedAt }, result) => {
    const { trace, ipAddress } = context
    const codes = result.errors?.map(({ extensions }) => String(extensions.code)) ?? []
    log.info(
      {
        ...trace,
        operationName: getOperationAST(document, operationName)?.name?.value ?? null,
        ipAddress,
        outcome: codes.length === 0 ? 'ok' : [...new Set(codes)].join(','),
        durationMs: Math.round((performance.now() - startedAt) * 1000) / 1000,
      },
      'operation',
    )
    return result
  }
