import { randomBytes } from 'node:crypto'
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { keepSecretFile, readSecretFile } from '../lib/secret-file.ts'
import { EmbeddedPostgresError } from './embedded-postgres-error.ts'

/**
 * Returns the password of the embedded server, which is generated at the first start. Several first starts at the same
 * time get the same password.
 *
 * @throws {EmbeddedPostgresError} The data directory exists, and its password is missing.
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
