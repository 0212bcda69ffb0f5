import { type Logger, pino } from 'pino'
import { type Environment, loadConfig } from '../config/config.ts'
import { createLogger } from '../lib/logger.ts'
import { withPlaceholders } from './environment.ts'

const STDERR = 2

/**
 * Creates the logger of a command. It writes to standard error, because standard output belongs to the command; from
 * level `warn` unless LOG_LEVEL is set.
 *
 * @throws {ConfigError} A setting is not valid. Nothing has been started.
 */
export function openCommandLogger(env: Environment): Logger {
  const { logLevel } = loadConfig(withPlaceholders({ LOG_LEVEL: 'warn', ...env }))
  return createLogger(logLevel, pino.destination(STDERR))
}
