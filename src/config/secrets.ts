import { parseToken, type Token } from '../domain/token.ts'
import { Fernet } from '../lib/fernet.ts'
import { isGuessable } from '../lib/guessable.ts'
import { type PostgresUrl, parsePostgresUrl } from '../lib/postgres-url.ts'
import { parseRedisUrl, type RedisUrl } from '../lib/redis-url.ts'
import { Secret } from '../lib/secret.ts'
import { type Kind, parsed, splitList } from './kinds.ts'

export const postgresUrl = (): Kind<Secret<PostgresUrl>> =>
  parsed(
    'URL',
    (text) => new Secret(parsePostgresUrl(text)),
    'is required, as postgresql://user:password@host:port/database',
  )

export const redisUrl = (): Kind<Secret<RedisUrl>> => parsed('URL', (text) => new Secret(parseRedisUrl(text)))

const KEYS = 'one or more Fernet keys, separated by commas; `porthor generate-secret` generates one'
const NO_KEYS = `is required: ${KEYS}; all servers and commands on one store must have the same keys`

/** @param mayBeGuessable Whether keys are accepted that an attacker can guess, such as those of examples. */
export const encryptionKeys = (mayBeGuessable: boolean): Kind<Fernet> =>
  parsed(
    'list of Fernet keys',
    (text) => {
      const keys = splitList(text)
      if (keys.length === 0) throw new Error(NO_KEYS)
      const encryption = attempt(() => new Fernet(keys), `must be ${KEYS}`)
      const place = mayBeGuessable ? -1 : keys.findIndex(isGuessable)
      if (place < 0) return encryption
      throw new Error(
        `must not be guessable, as entry ${place + 1} is; \`porthor generate-secret\` generates a random key`,
      )
    },
    NO_KEYS,
  )

const TOKEN_ADVICE = '`porthor generate-token` generates one; `none` starts without a bootstrap token'

/** The value is `undefined` for `none`. */
export const bootstrapToken = (mayBeGuessable: boolean): Kind<Secret<Token> | undefined> =>
  parsed(
    'token, or `none`',
    (text) => {
      if (text === 'none') return undefined
      const token = attempt(() => parseToken(text), `must be a token, gt-<key>.<secret>: ${TOKEN_ADVICE}`)
      if (mayBeGuessable || !isGuessable(token.secret)) return new Secret(token)
      throw new Error(`must not be guessable: ${TOKEN_ADVICE}`)
    },
    `is required: ${TOKEN_ADVICE}`,
  )

/** Returns what `parse` returns. Its own error may quote the secret. */
function attempt<T>(parse: () => T, message: string): T {
  try {
    return parse()
  } catch {
    throw new Error(message)
  }
}
