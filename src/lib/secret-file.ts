import { randomBytes } from 'node:crypto'
import { chmod, link, readFile, rm, writeFile } from 'node:fs/promises'

/** Only its owner may read it. */
const PRIVATE = 0o600

/** The secret in the file at `path`; `undefined` where there is none, or nothing in it. */
export async function readSecretFile(path: string): Promise<string | undefined> {
  const text = await readFile(path, 'utf8').catch(unless('ENOENT'))
  const secret = text?.trim()
  if (!secret) return undefined
  await chmod(path, PRIVATE)
  return secret
}

/**
 * Keeps `secret` in a file at `path`, unless one is kept there by now.
 *
 * @returns What is kept there: of several that make a secret at once, all get the same one.
 * @throws {Error} The file is there, and empty.
 */
export async function keepSecretFile(path: string, secret: string): Promise<string> {
  // Written aside and linked: the name appears with its content, and only once.
  const draft = `${path}.${randomBytes(4).toString('hex')}`
  try {
    await writeFile(draft, `${secret}\n`, { mode: PRIVATE, flag: 'wx' })
    await link(draft, path).catch(unless('EEXIST'))
  } finally {
    await rm(draft, { force: true })
  }
  const kept = await readSecretFile(path)
  if (kept) return kept
  throw new Error(`${path} is empty: remove it, and Porthor makes a new one.`)
}

/** Takes the error of that code for `undefined`. */
const unless =
  (code: string) =>
  (error: unknown): undefined => {
    if (!(error instanceof Error && 'code' in error && error.code === code)) throw error
  }
