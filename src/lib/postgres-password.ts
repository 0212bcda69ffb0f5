import { randomBytes } from 'node:crypto'
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { EmbeddedPostgresError } from './embedded-postgres-error.ts'
import { keepSecretFile, readSecretFile } from './secret-file.ts'

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
  const kept = await readSecretFile(path)
  if (kept) return kept
  if (await stat(place.clusterDir).catch(() => undefined)) {
    throw new EmbeddedPostgresError(
      `${path} is missing or empty, and ${place.clusterDir} cannot be opened without it: restore it, ` +
        'or remove both to begin with an empty database.',
    )
  }
  return keepSecretFile(path, randomBytes(24).toString('base64url'))
}
