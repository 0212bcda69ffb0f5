import { type DestinationStream, type Logger, pino } from 'pino'

/** How long a line may wait for others to be written with it, in milliseconds, and how much they may hold, in bytes. */
const FLUSH_INTERVAL_MS = 100
const BUFFER_BYTES = 8 * 1024

/**
 * A logger that writes a JSON line for each event. Errors are told by name, message, stack and code
 * only: a driver hangs the command that failed on its errors, values and all.
 *
 * Lines go to standard output together, some at a time: a write for each would cost a busy server more than
 * all that the line tells of. They are written too when the process ends; one that is killed takes the last
 * tenth of a second with it.
 */
export const createLogger = (level: string, destination: DestinationStream = bufferedOutput()): Logger =>
  pino({ level, base: null, timestamp: isoTime, serializers: { err: describe } }, destination)

const bufferedOutput = (): DestinationStream =>
  pino.destination({ sync: false, minLength: BUFFER_BYTES, periodicFlush: FLUSH_INTERVAL_MS })

let lastTime = { at: 0, text: '' }

/** The time as pino adds it to a line. Most lines share their millisecond with the one before. */
function isoTime(): string {
  const at = Date.now()
  if (at !== lastTime.at) lastTime = { at, text: `,"time":"${new Date(at).toISOString()}"` }
  return lastTime.text
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
