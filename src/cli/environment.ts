import { stat } from 'node:fs/promises'
import type { Logger } from 'pino'
import { dataDirOf, type Environment, isProduction } from '../config/config.ts'
import { splitList } from '../config/kinds.ts'
import { formatToken, generateToken, parseToken } from '../domain/token.ts'
import { Fernet, generateFernetKey } from '../lib/fernet.ts'
import { makeDirectory } from '../lib/make-directory.ts'
import { type GeneratedSecret, readOrCreateSecret } from './generated-secret.ts'
import { exitOnSignals } from './stop-signals.ts'

/** Permissions of the data directory: only its owner may list, read or change what is in it. */
const PRIVATE = 0o700

/** The database that a command runs on. */
export interface OpenDatabase {
  readonly url: string
  /** Whether it is the embedded PostgreSQL. */
  readonly isEmbedded: boolean
  readonly close: () => Promise<void>
  /** Ends the embedded PostgreSQL immediately if this process owns it, even while `close` is running. */
  readonly endAtOnce: () => void
}

const SESSION_SECRET: GeneratedSecret = {
  generate: generateFernetKey,
  check: (text) => new Fernet(splitList(text)),
}
const BOOTSTRAP_TOKEN: GeneratedSecret = {
  generate: () => formatToken(generateToken()),
  check: parseToken,
}

/**
 * Whether secrets are generated: never in production, and never for external stores, which another server may use.
 * Servers with different generated secrets would refuse each other's tokens.
 */
const hasGeneratedSecrets = (env: Environment): boolean =>
  !isProduction(env) && !env.DATABASE_URL && !env.REDIS_URL

/**
 * Returns `env` with a placeholder for each setting that development provides, so that the others can be checked
 * before anything is started or written. In production nothing is provided.
 */
export function withPlaceholders(env: Environment): Environment {
  if (isProduction(env)) return env
  return {
    DATABASE_URL: 'postgresql://127.0.0.1/porthor',
    ...(hasGeneratedSecrets(env) && {
      SESSION_SECRET: SESSION_SECRET.generate(),
      BOOTSTRAP_TOKEN: BOOTSTRAP_TOKEN.generate(),
    }),
    ...env,
  }
}

/**
 * Adds the secrets that are generated once and kept in the data directory. Does nothing where none are generated.
 *
 * @param env The environment as given, without the URL of an embedded database.
 */
export async function withSecrets(env: Environment): Promise<Environment> {
  if (!hasGeneratedSecrets(env)) return env
  const dataDir = dataDirOf(env)
  return {
    ...env,
    SESSION_SECRET:
      env.SESSION_SECRET ?? (await readOrCreateSecret(sessionSecretFile(dataDir), SESSION_SECRET)),
    BOOTSTRAP_TOKEN:
      env.BOOTSTRAP_TOKEN ?? (await readOrCreateSecret(bootstrapTokenFile(dataDir), BOOTSTRAP_TOKEN)),
  }
}

const sessionSecretFile = (dataDir: string): string => `${dataDir}/session-secret`
export const bootstrapTokenFile = (dataDir: string): string => `${dataDir}/bootstrap-token`

export interface DatabaseOptions {
  /** For a command beside a server: use its embedded database if it is running, instead of refusing to start. */
  readonly join?: boolean
  /** Refuse to create a data directory: the command needs the data of a server. */
  readonly mustExist?: boolean
}

/**
 * Returns the configured database, or opens the embedded one where none is configured; never in production. The
 * result must be closed.
 */
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
  const { findEmbeddedPostgres, openEmbeddedPostgres } = await import(
    '../embedded-postgres/embedded-postgres.ts'
  )
  const running = join ? await findEmbeddedPostgres(dataDir) : undefined
  if (running) return { ...running, isEmbedded: true, endAtOnce: () => undefined }
  if (join) exitOnSignals()
  const { url, close, endAtOnce } = await openEmbeddedPostgres({ dataDir, log })
  return { url, isEmbedded: true, close, endAtOnce }
}

async function requireDataDir(dataDir: string): Promise<void> {
  if ((await stat(dataDir).catch(() => undefined))?.isDirectory()) return
  throw new Error(
    `The data directory ${dataDir} does not exist: set DATA_DIR or DATABASE_URL as for the server, or create one with \`porthor serve\` or \`porthor migrate\`.`,
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
