import { type DestinationStream, type Logger, pino } from 'pino'

/**
 * A logger that writes a JSON line for each event. Errors are told by name, message, stack and code
 * only: a driver hangs the command that failed on its errors, values and all.
 */
export const createLogger = (level: string, destination?: DestinationStream): Logger => {
  const options = {
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    serializers: { err: describe },
  }
  return destination ? pino(options, destination) : pino(options)
}

interface Description {
  readonly type: string
  readonly message: string
  readonly code?: string
  readonly stack?: string
  readonly cause?: unknown
}

function describe(error: unknown, depth = 0): unknown {
  if (!(error instanceof Error)) return typeof error
  const { code } = error as { code?: unknown }
  const description: Description = {
    type: error.name,
    message: error.message,
    ...(typeof code === 'string' && { code }),
    ...(error.stack && { stack: error.stack }),
    ...(error.cause !== undefined && depth < 5 && { cause: describe(error.cause, depth + 1) }),
  }
  return description
}
