import { randomBytes } from 'node:crypto'
import { constants, type Stats } from 'node:fs'
import { link, open, rm, writeFile } from 'node:fs/promises'

/** Only its owner may read it. */
const PRIVATE = 0o600

/** What nobody but the owner may do. */
const OTHERS = 0o077

/** No link is followed, and nothing waits for a writer: whoever can write to the directory may have put it there. */
const FLAGS = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK

/**
 * The secret in the file at `path`; `undefined` where there is none, or nothing in it.
 *
 * @throws {Error} It is not a file of ours that nobody else may read or change: who has planted or seen it, knows it.
 */
export async function readSecretFile(path: string): Promise<string | undefined> {
  const file = await open(path, FLAGS).catch((error: unknown) => {
    if (hasCode(error, 'ELOOP', 'EMLINK')) throw untrusted(path, 'it is a link', 'put a file in its place')
    return unless('ENOENT')(error)
  })
  if (!file) return undefined
  try {
    assertTrusted(path, await file.stat())
    const secret = (await file.readFile('utf8')).trim()
    return secret === '' ? undefined : secret
  } finally {
    await file.close()
  }
}

function assertTrusted(path: string, stats: Stats): void {
  if (!stats.isFile()) throw untrusted(path, 'it is not a file', 'put a file in its place')
  const { uid, mode } = stats
  const ourUid = process.getuid?.()
  // Where there are no such rights, there is nothing to check.
  if (ourUid === undefined) return
  if (uid !== ourUid) {
    throw untrusted(
      path,
      `it belongs to another user (uid ${uid})`,
      `if it is yours, \`chown ${ourUid} ${path}\``,
    )
  }
  if ((mode & OTHERS) !== 0) {
    const rights = (mode & 0o777).toString(8).padStart(3, '0')
    throw untrusted(
      path,
      `others may read or change it (mode ${rights})`,
      `if nobody did, \`chmod 600 ${path}\``,
    )
  }
}

const untrusted = (path: string, fault: string, right: string): Error =>
  new Error(`${path} cannot be trusted, for ${fault}: ${right}, or remove it, and Porthor makes a new one.`)

/**
 * Keeps `secret` in a file at `path`, unless one is kept there by now.
 *
 * @returns What is kept there: of several that make a secret at once, all get the same one.
 * @throws {Error} The file is there, and empty or not to be trusted.
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

const hasCode = (error: unknown, ...codes: readonly string[]): boolean =>
  error instanceof Error && 'code' in error && codes.includes(String(error.code))

/** Takes the error of that code for `undefined`. */
const unless =
  (code: string) =>
  (error: unknown): undefined => {
    if (!hasCode(error, code)) throw error
  }
