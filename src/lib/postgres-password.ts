import { randomBytes } from 'node:crypto'
import { link, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { EmbeddedPostgresError } from './embedded-postgres-error.ts'

/**
 * The password of the embedded server, made at the first start. Of several first starts at once all get the
 * same one.
 *
 * @throws {EmbeddedPostgresError} There is data, but the password to it is gone.
 */
export async function loadPostgresPassword(place: {
  readonly dataDir: string
  readonly clusterDir: string
}): Promise<string> {
  const path = join(place.dataDir, 'postgres-password')
  const kept = await readPassword(path)
  if (kept) return kept
  if (await stat(place.clusterDir).catch(() => undefined)) {
    throw new EmbeddedPostgresError(
      `${path} is missing or empty, and ${place.clusterDir} cannot be opened without it: restore it, ` +
        'or remove both to begin with an empty database.',
    )
  }
  // Written aside and linked: the name appears with its content, and only once.
  const draft = `${path}.${randomBytes(4).toString('hex')}`
  try {
    await writeFile(draft, `${randomBytes(24).toString('base64url')}\n`, { mode: 0o600, flag: 'wx' })
    await link(draft, path).catch((error: unknown) => {
      if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error
    })
  } finally {
    await rm(draft, { force: true })
  }
  const made = await readPassword(path)
  if (made) return made
  throw new EmbeddedPostgresError(`${path} is empty: remove it, and Porthor makes a new one.`)
}

const readPassword = async (path: string): Promise<string | undefined> =>
  (await readFile(path, 'utf8').catch(ifMissing))?.trim() || undefined

function ifMissing(error: unknown): undefined {
  if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error
}
