import type { Logger } from 'pino'
import { createLogger } from '../../../src/lib/logger.ts'
import type { LogLine } from '../porthor/porthor.ts'

/** A logger, and every line that it has written so far. */
export function recordingLog(): { readonly log: Logger; readonly lines: LogLine[] } {
  const lines: LogLine[] = []
  const log = createLogger('trace', { write: (line: string) => void lines.push(JSON.parse(line)) })
  return { log, lines }
}
