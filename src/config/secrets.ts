import { parseToken, type Token } from '../domain/token.ts'
import { Fernet } from '../lib/fernet.ts'
import { isGuessable } from '../lib/guessable.ts'

/** Settings that are secrets or contain one. */
const SECRET_SETTINGS = ['DATABASE_URL', 'REDIS_URL', 'SESSION_SECRET', 'BOOTSTRAP_TOKEN'] as const

type Environment = Readonly<Record<string, string | undefined>>

/** Removes white space around secrets: the files that they come from end with a line break. */
export function trimSecrets(env: Environment): Environment {
  const trimmed = SECRET_SETTINGS.map((name) => [name, env[name]?.trim()] as const)
  return { ...env, ...Object.fromEntries(trimmed.filter(([, value]) => value !== undefined)) }
}

/**
 * Checks the encryption keys of `SESSION_SECRET`.
 *
 * @param mayBeGuessable Whether keys are accepted that an attacker can guess, such as those of examples.
 * @throws {Error} Its message continues a sentence that begins with the setting's name.
 */
export function checkSessionSecret(keys: readonly string[], mayBeGuessable: boolean): void {
  const expected = 'one or more Fernet keys, separated by commas; `porthor generate-secret` generates one'
  if (keys.length === 0)
    throw new Error(`is required: ${expected}; all servers and commands on one store must have the same keys`)
  try {
    new Fernet(keys)
  } catch {
    throw new Error(`must be ${expected}`)
  }
  const place = mayBeGuessable ? -1 : keys.findIndex(isGuessable)
  if (place >= 0) {
    throw new Error(
      `must not be guessable, as entry ${place + 1} is; \`porthor generate-secret\` generates a random key`,
    )
  }
}

/**
 * Parses `BOOTSTRAP_TOKEN`.
 *
 * @returns `undefined` for `none`.
 * @throws {Error} As `checkSessionSecret`.
 */
export function parseBootstrapToken(text: string | undefined, mayBeGuessable: boolean): Token | undefined {
  const advice = '`porthor generate-token` generates one; `none` starts without a bootstrap token'
  if (!text) throw new Error(`is required: ${advice}`)
  if (text === 'none') return undefined
  const token = tryToParse(text)
  if (!token) throw new Error(`must be a token, gt-<key>.<secret>: ${advice}`)
  if (!mayBeGuessable && isGuessable(token.secret)) throw new Error(`must not be guessable: ${advice}`)
  return token
}

function tryToParse(text: string): Token | undefined {
  try {
    return parseToken(text)
  } catch {
    return undefined
  }
}
