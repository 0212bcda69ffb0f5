import { type Logger, pino } from 'pino'
import { createLogger } from '../lib/logger.ts'

const STDERR = 2

/** A logger for a command whose standard output is its own. */
export const createToolLogger = (level: string): Logger => createLogger(level, pino.destination(STDERR))
