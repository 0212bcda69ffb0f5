import { dirname } from 'node:path'
import { makeDirectory } from '../lib/make-directory.ts'
import { keepSecretFile, readSecretFile } from '../lib/secret-file.ts'

export interface GeneratedSecret {
  readonly generate: () => string
  /** Throws on what is no such secret. */
  readonly check: (text: string) => unknown
}

/**
 * The text kept in `path`; generated and written there, for its owner's eyes only, where there is none. Of
 * several that do so at once all get the same one.
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
      `Porthor cannot keep ${path}: set DATA_DIR to a directory that it may write to, or set SESSION_SECRET and BOOTSTRAP_TOKEN.`,
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
      `${path} is spoilt: put back what was in it, or remove it, and Porthor makes a new one; what was made with the old one is then refused.`,
    )
  }
}
