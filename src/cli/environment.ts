import { stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import type { Logger } from 'pino'
import { type Environment, isProduction, splitList } from '../config.ts'
import { formatToken, generateToken, parseToken } from '../domain/token.ts'
import { Fernet, generateFernetKey } from '../lib/fernet.ts'
import { makeDirectory } from '../lib/make-directory.ts'
import { type GeneratedSecret, readOrCreateSecret } from './secret-file.ts'
import { exitOnSignals } from './stop-signals.ts'

/** Only its owner may see what is in it. */
const PRIVATE = 0o700

/** The database that a command runs on. */
export interface OpenDatabase {
  readonly url: string
  /** Whether it is the embedded one. */
  readonly isEmbedded: boolean
  readonly close: () => Promise<void>
  /** Has the embedded one end at once, if it is ours, be it that it is closing. */
  readonly endAtOnce: () => void
}

/** Where generated secrets and the embedded database are kept. */
export const dataDirOf = (env: Environment): string => resolve(env.DATA_DIR || '.porthor')

const SESSION_SECRET: GeneratedSecret = {
  generate: generateFernetKey,
  check: (text) => new Fernet(splitList(text)),
}
const BOOTSTRAP_TOKEN: GeneratedSecret = {
  generate: () => formatToken(generateToken()),
  check: parseToken,
}

/**
 * Whether secrets are generated: not in production, nor for stores from outside, which another server may use
 * too. Each would have made a secret of its own, and refuse the tokens of the other.
 */
const hasGeneratedSecrets = (env: Environment): boolean =>
  !isProduction(env) && !env.DATABASE_URL && !env.REDIS_URL

/**
 * `env` with a stand-in for each thing that development provides, so that the rest can be checked before
 * anything is started or written. In production nothing is provided.
 */
export function withStandIns(env: Environment): Environment {
  if (isProduction(env)) return env
  const DATABASE_URL = env.DATABASE_URL || 'postgresql://127.0.0.1/porthor'
  if (!hasGeneratedSecrets(env)) return { ...env, DATABASE_URL }
  return {
    ...env,
    DATABASE_URL,
    SESSION_SECRET: env.SESSION_SECRET || SESSION_SECRET.generate(),
    BOOTSTRAP_TOKEN: env.BOOTSTRAP_TOKEN || BOOTSTRAP_TOKEN.generate(),
  }
}

/**
 * Adds secrets that are generated once and kept in the data directory, where any are.
 *
 * @param env As it was given, with no URL of an embedded database in it.
 */
export async function withSecrets(env: Environment): Promise<Environment> {
  if (!hasGeneratedSecrets(env)) return env
  const dataDir = dataDirOf(env)
  return {
    ...env,
    SESSION_SECRET:
      env.SESSION_SECRET || (await readOrCreateSecret(sessionSecretFile(dataDir), SESSION_SECRET)),
    BOOTSTRAP_TOKEN:
      env.BOOTSTRAP_TOKEN || (await readOrCreateSecret(bootstrapTokenFile(dataDir), BOOTSTRAP_TOKEN)),
  }
}

export const sessionSecretFile = (dataDir: string): string => `${dataDir}/session-secret`
export const bootstrapTokenFile = (dataDir: string): string => `${dataDir}/bootstrap-token`

export interface DatabaseOptions {
  /** For a command beside a server: use its embedded database if it runs already, instead of refusing to start. */
  readonly join?: boolean
  /** Refuse to make a data directory: what the command is asked for can only be in that of a server. */
  readonly mustExist?: boolean
}

/** Opens the embedded database where none is configured and it may be used. Close it when done. */
export async function openDatabase(
  env: Environment,
  log: Logger,
  { join = false, mustExist = false }: DatabaseOptions = {},
): Promise<OpenDatabase> {
  if (isProduction(env) || env.DATABASE_URL) {
    return {
      url: env.DATABASE_URL ?? '',
      isEmbedded: false,
      close: async () => undefined,
      endAtOnce: () => undefined,
    }
  }
  const dataDir = dataDirOf(env)
  await (mustExist ? requireDataDir(dataDir) : makeDataDir(dataDir))
  const { findEmbeddedPostgres, openEmbeddedPostgres } = await import('../lib/embedded-postgres.ts')
  const running = join ? await findEmbeddedPostgres(dataDir) : undefined
  if (running) return { ...running, isEmbedded: true, endAtOnce: () => undefined }
  if (join) exitOnSignals()
  const { url, close, endAtOnce } = await openEmbeddedPostgres({ dataDir, log })
  return { url, isEmbedded: true, close, endAtOnce }
}

async function requireDataDir(dataDir: string): Promise<void> {
  if ((await stat(dataDir).catch(() => undefined))?.isDirectory()) return
  throw new Error(
    `There is no data directory ${dataDir}: set DATA_DIR or DATABASE_URL as for the server, or make one with \`porthor serve\` or \`porthor migrate\`.`,
  )
}

async function makeDataDir(dataDir: string): Promise<void> {
  try {
    await makeDirectory(dataDir, PRIVATE)
  } catch (cause) {
    throw new Error(
      `Porthor cannot write to ${dataDir}: set DATA_DIR to a directory that it may write to, or set DATABASE_URL.`,
      { cause },
    )
  }
}
