import { type DestinationStream, type Logger, pino } from 'pino'
import sonicBoom from 'sonic-boom'
import { systemClock } from './clock.ts'
import { boundLine } from './log-line.ts'

/** Lines are buffered for this time at most, in milliseconds, and up to this size, in bytes. */
const FLUSH_INTERVAL_MS = 100
const BUFFER_BYTES = 8 * 1024

/** Maximum size of lines that wait for a reader that has stopped reading, in bytes; further lines are dropped. */
const MAX_WAITING_BYTES = 64 * 1024 * 1024

/** Maximum number of attempts to write to such a reader at exit, a tenth of a second apart. */
const MAX_LAST_TRIES = 10

/**
 * Creates a logger that writes a JSON line of at most 4 kB for each event. Of an error it logs only name, message, stack,
 * code and cause: drivers attach the failed command with its values to their errors.
 *
 * Lines are written in batches, because a write for each line would cost more than the request that it is about. The
 * last batch is written when the process exits. A process that is killed loses the lines of the last tenth of a second.
 */
export const createLogger = (level: string, destination: DestinationStream = bufferedOutput()): Logger =>
  pino(
    { level, base: null, timestamp: isoTime, serializers: { err: describe } },
    { write: (line) => destination.write(boundLine(line)) },
  )

/**
 * Opens standard output for buffered writes. With the sonic-boom of pino, the last write at exit never ends where the
 * reader has stopped reading.
 */
function bufferedOutput(): DestinationStream {
  let triesLeft = Number.POSITIVE_INFINITY
  const output = new sonicBoom.SonicBoom({
    fd: process.stdout.fd,
    sync: false,
    minLength: BUFFER_BYTES,
    maxLength: MAX_WAITING_BYTES,
    periodicFlush: FLUSH_INTERVAL_MS,
    retryEAGAIN: () => {
      triesLeft -= 1
      return triesLeft > 0
    },
  })
  // There is no reader to which the error could be reported.
  output.on('error', () => undefined)
  process.once('exit', () => {
    triesLeft = MAX_LAST_TRIES
    try {
      output.flushSync()
    } catch {
      // As above.
    }
  })
  return output
}

let lastTime = { at: 0, text: '' }

/** Returns the time as pino adds it to a line. It is kept, because many lines share a millisecond. */
function isoTime(): string {
  const now = systemClock.now()
  const at = now.getTime()
  if (at !== lastTime.at) lastTime = { at, text: `,"time":"${now.toISOString()}"` }
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
