import { resolve } from 'node:path'
import type { Logger } from 'pino'
import { type Environment, isProduction } from '../config.ts'
import { formatToken, generateToken } from '../domain/token.ts'
import { findEmbeddedPostgres, openEmbeddedPostgres } from '../lib/embedded-postgres.ts'
import { generateFernetKey } from '../lib/fernet.ts'
import { readOrCreateSecret } from './secret-file.ts'

/** The database that a command runs on. */
export interface OpenDatabase {
  readonly url: string
  /** Whether it is the embedded one. */
  readonly isEmbedded: boolean
  readonly close: () => Promise<void>
}

/** Where generated secrets and the embedded database are kept. */
export const dataDirOf = (env: Environment): string => resolve(env.DATA_DIR || '.porthor')

/**
 * `env` with a stand-in for each thing that development provides, so that the rest can be checked before
 * anything is started or written. In production nothing is provided.
 */
export const withStandIns = (env: Environment): Environment =>
  isProduction(env)
    ? env
    : {
        ...env,
        DATABASE_URL: env.DATABASE_URL || 'postgresql://127.0.0.1/porthor',
        SESSION_SECRET: env.SESSION_SECRET || generateFernetKey(),
        BOOTSTRAP_TOKEN: env.BOOTSTRAP_TOKEN || formatToken(generateToken()),
      }

/** Adds secrets that are generated once and kept in the data directory. In production it adds nothing. */
export async function withSecrets(env: Environment): Promise<Environment> {
  if (isProduction(env)) return env
  const dataDir = dataDirOf(env)
  return {
    ...env,
    SESSION_SECRET:
      env.SESSION_SECRET || (await readOrCreateSecret(sessionSecretFile(dataDir), generateFernetKey)),
    BOOTSTRAP_TOKEN:
      env.BOOTSTRAP_TOKEN ||
      (await readOrCreateSecret(bootstrapTokenFile(dataDir), () => formatToken(generateToken()))),
  }
}

export const sessionSecretFile = (dataDir: string): string => `${dataDir}/session-secret`
export const bootstrapTokenFile = (dataDir: string): string => `${dataDir}/bootstrap-token`

export interface DatabaseOptions {
  /** Use the embedded database of a Porthor that runs already, instead of refusing to start beside it. */
  readonly join?: boolean
}

/** Opens the embedded database where none is configured and it may be used. Close it when done. */
export async function openDatabase(
  env: Environment,
  log: Logger,
  { join = false }: DatabaseOptions = {},
): Promise<OpenDatabase> {
  if (isProduction(env) || env.DATABASE_URL) {
    return { url: env.DATABASE_URL ?? '', isEmbedded: false, close: async () => undefined }
  }
  const dataDir = dataDirOf(env)
  const running = join ? await findEmbeddedPostgres(dataDir) : undefined
  const { url, close } = running ?? (await openEmbeddedPostgres({ dataDir, log }))
  return { url, isEmbedded: true, close }
}
