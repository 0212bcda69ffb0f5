import type { ExecutionResult } from 'graphql'
import type { Logger } from 'pino'
import { systemClock } from '../../../lib/clock.ts'
import type { ResultHandler } from './operation.ts'

/** Logs one line for each operation: caller, operation, outcome and duration. Never a token. */
export const logOperation =
  (log: Logger): ResultHandler =>
  ({ name, context: { trace, ipAddress }, startedAt }, result) => {
    log.info(
      {
        requestId: trace.requestId,
        username: trace.username,
        tokenKey: trace.tokenKey,
        subjectUsername: trace.subjectUsername,
        subjectKey: trace.subjectKey,
        source: trace.source,
        operationName: name,
        ipAddress,
        outcome: outcomeOf(result),
        durationMs: Math.round((systemClock.monotonicMs() - startedAt) * 1000) / 1000,
      },
      'operation',
    )
    return result
  }

/** Returns `ok`, or the distinct codes of the errors. */
const outcomeOf = ({ errors }: ExecutionResult): string =>
  errors ? [...new Set(errors.map(({ extensions }) => String(extensions.code)))].join(',') : 'ok'
