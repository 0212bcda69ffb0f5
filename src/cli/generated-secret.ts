import { dirname } from 'node:path'
import { makeDirectory } from '../lib/make-directory.ts'
import { keepSecretFile, readSecretFile } from '../lib/secret-file.ts'

export interface GeneratedSecret {
  readonly generate: () => string
  /** Throws if the text is not a secret of this kind. */
  readonly check: (text: string) => unknown
}

/**
 * Returns the secret in the file at `path`. Generates and writes one that only its owner can read where there is none;
 * if several processes do so at once, all get the same one.
 */
export async function readOrCreateSecret(
  path: string,
  { generate, check }: GeneratedSecret,
): Promise<string> {
  try {
    const kept = await readSecretFile(path)
    if (kept) return checked(kept, path, check)
    await makeDirectory(dirname(path))
    return await keepSecretFile(path, generate())
  } catch (cause) {
    if (!(cause instanceof Error && 'code' in cause)) throw cause
    throw new Error(
      `Porthor cannot read or write ${path}: set DATA_DIR to a directory that it may write to, or set SESSION_SECRET and BOOTSTRAP_TOKEN.`,
      { cause },
    )
  }
}

function checked(text: string, path: string, check: GeneratedSecret['check']): string {
  try {
    check(text)
    return text
  } catch {
    throw new Error(
      `${path} does not hold a valid secret: restore its content, or remove it and Porthor generates a new one. Porthor then refuses the tokens that depend on the old one.`,
    )
  }
}
