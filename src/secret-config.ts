import { parseToken, type Token } from './domain/token.ts'
import { Fernet } from './lib/fernet.ts'
import { isGuessable } from './lib/guessable.ts'

/** Settings that are secrets, or have one in them. */
const SECRET_SETTINGS = ['DATABASE_URL', 'REDIS_URL', 'SESSION_SECRET', 'BOOTSTRAP_TOKEN'] as const

type Environment = Readonly<Record<string, string | undefined>>

/** `env` with no white space around its secrets: files that they were read from end with a line end. */
export function trimSecrets(env: Environment): Environment {
  const trimmed = SECRET_SETTINGS.map((name) => [name, env[name]?.trim()] as const)
  return { ...env, ...Object.fromEntries(trimmed.filter(([, value]) => value !== undefined)) }
}

/**
 * Checks the keys of `SESSION_SECRET`.
 *
 * @param mayBeGuessable Whether keys pass that anybody can guess.
 * @throws {Error} What must be, for a sentence that begins with the setting's name.
 */
export function checkSessionSecret(keys: readonly string[], mayBeGuessable: boolean): void {
  const right = 'one or more Fernet keys, separated by commas; `porthor generate-secret` makes one'
  if (keys.length === 0)
    throw new Error(`is required: ${right}; all servers and commands on one store have the same`)
  try {
    new Fernet(keys)
  } catch {
    throw new Error(`must be ${right}`)
  }
  const place = mayBeGuessable ? -1 : keys.findIndex(isGuessable)
  if (place >= 0) {
    throw new Error(
      `must not be guessed by anybody: entry ${place + 1} can be; \`porthor generate-secret\` makes one`,
    )
  }
}

/**
 * Reads `BOOTSTRAP_TOKEN`.
 *
 * @returns `undefined` for `none`.
 * @throws {Error} As `checkSessionSecret`.
 */
export function parseBootstrapToken(text: string | undefined, mayBeGuessable: boolean): Token | undefined {
  const advice = '`porthor generate-token` makes one; `none` starts without'
  if (!text) throw new Error(`is required: ${advice}`)
  if (text === 'none') return undefined
  const token = tryToParse(text)
  if (!token) throw new Error(`must be a token, gt-<key>.<secret>: ${advice}`)
  if (!mayBeGuessable && isGuessable(token.secret))
    throw new Error(`must not be guessed by anybody: ${advice}`)
  return token
}

function tryToParse(text: string): Token | undefined {
  try {
    return parseToken(text)
  } catch {
    return undefined
  }
}
