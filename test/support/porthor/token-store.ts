import { Redis } from 'ioredis'
import pg from 'pg'
import type { TokenKey } from '../../../src/domain/token.ts'
import { Fernet } from '../../../src/lib/fernet.ts'
import { EncryptedRecords } from '../../../src/stores/token-store/encrypted-records.ts'
import { PostgresTokenStore } from '../../../src/stores/token-store/postgres-token-store.ts'
import { RedisTokenStore } from '../../../src/stores/token-store/redis-token-store.ts'
import type { TokenStore } from '../../../src/stores/token-store/token-store.ts'
import type { Porthor, StoreKind } from './porthor.ts'

/** The token store that a Porthor uses, over a connection of the test's own. */
export function openTokens(
  { env, context, clock }: Porthor,
  store: StoreKind,
): { readonly tokens: TokenStore; readonly close: () => Promise<void> } {
  const fernet = new Fernet((env.SESSION_SECRET ?? '').split(','))
  const records = new EncryptedRecords({ fernet, clock, log: context.log })
  if (store === 'redis') {
    const redis = new Redis(env.REDIS_URL ?? '')
    return {
      tokens: new RedisTokenStore({ redis, records, clock }),
      close: async () => redis.disconnect(),
    }
  }
  const pool = new pg.Pool({ connectionString: env.DATABASE_URL, max: 2 })
  pool.on('error', () => undefined)
  return { tokens: new PostgresTokenStore({ pool, records, clock }), close: () => pool.end() }
}

/** `tokens` with some methods of another making. */
export const overriding = (tokens: TokenStore, changed: Partial<TokenStore>): TokenStore =>
  new Proxy(tokens, {
    get: (target, name) => {
      const value: unknown = Reflect.get(changed, name) ?? Reflect.get(target, name)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })

/** A token store that passes everything on, and notes the key of every token that is put. */
export const notingPuts =
  (puts: TokenKey[]) =>
  (tokens: TokenStore): Pick<TokenStore, 'put'> => ({
    put: (data) => {
      puts.push(data.token.key)
      return tokens.put(data)
    },
  })
