import { type Logger, pino } from 'pino'
import { type Environment, loadConfig } from '../config.ts'
import { createLogger } from '../lib/logger.ts'
import { withStandIns } from './environment.ts'

const STDERR = 2

/**
 * A logger for a command whose standard output is its own: from warnings up, unless LOG_LEVEL says otherwise.
 *
 * @throws {ConfigError} before anything is started.
 */
export function openToolLogger(env: Environment): Logger {
  const { logLevel } = loadConfig(withStandIns({ ...env, LOG_LEVEL: env.LOG_LEVEL || 'warn' }))
  return createLogger(logLevel, pino.destination(STDERR))
}
