import { ConfigError, type Environment, loadConfig } from '../../../src/config/config.ts'

/** Returns the errors for which `env` is refused; empty where it is valid. */
export function configErrorsOf(env: Environment): readonly string[] {
  try {
    loadConfig(env)
  } catch (error) {
    if (error instanceof ConfigError) return error.errors
    throw error
  }
  return []
}
