import { type DestinationStream, type Logger, pino } from 'pino'
import sonicBoom from 'sonic-boom'
import { boundLine } from './log-line.ts'

/** How long a line may wait for others to be written with it, in milliseconds, and how much they may hold, in bytes. */
const FLUSH_INTERVAL_MS = 100
const BUFFER_BYTES = 8 * 1024

/** How much may wait for a reader that has stopped to read, in bytes; lines beyond it are dropped. */
const MOST_WAITING_BYTES = 64 * 1024 * 1024

/** How often such a reader is tried again at the exit of the process, a tenth of a second apart. */
const MOST_LAST_TRIES = 10

/**
 * A logger that writes a JSON line for each event. Errors are told by name, message, stack and code
 * only: a driver hangs the command that failed on its errors, values and all. No line is longer than 4 kB.
 *
 * Lines go to standard output together, some at a time: a write for each would cost a busy server more than
 * all that the line tells of. They are written too when the process ends; one that is killed takes the last
 * tenth of a second with it.
 */
export const createLogger = (level: string, destination: DestinationStream = bufferedOutput()): Logger =>
  pino(
    { level, base: null, timestamp: isoTime, serializers: { err: describe } },
    { write: (line) => destination.write(boundLine(line)) },
  )

/**
 * Standard output, by a sonic-boom of ours: the one that pino brings never ends its last write, at the exit of the
 * process, where the reader has gone.
 */
function bufferedOutput(): DestinationStream {
  let triesLeft = Number.POSITIVE_INFINITY
  const output = new sonicBoom.SonicBoom({
    fd: process.stdout.fd,
    sync: false,
    minLength: BUFFER_BYTES,
    maxLength: MOST_WAITING_BYTES,
    periodicFlush: FLUSH_INTERVAL_MS,
    retryEAGAIN: () => {
      triesLeft -= 1
      return triesLeft > 0
    },
  })
  // Without a reader there is nobody to tell.
  output.on('error', () => undefined)
  process.once('exit', () => {
    triesLeft = MOST_LAST_TRIES
    try {
      output.flushSync()
    } catch {
      // As above.
    }
  })
  return output
}

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
