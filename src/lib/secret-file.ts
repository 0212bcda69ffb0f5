import { randomBytes } from 'node:crypto'
import { constants, type Stats } from 'node:fs'
import { link, open, rm, writeFile } from 'node:fs/promises'

/** Permissions of a secret file: only its owner may read it. */
const PRIVATE = 0o600

/** Permission bits that only the owner may have. */
const GROUP_AND_OTHERS = 0o077

/** Follows no link and waits for no writer: anyone who can write to the directory may have put the file there. */
const FLAGS = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK

/**
 * Returns the secret in the file at `path`; `undefined` where there is no file, or an empty one.
 *
 * @throws {Error} The path is not a file of this user, or others may read or change it: they may know the secret.
 */
export async function readSecretFile(path: string): Promise<string | undefined> {
  const file = await open(path, FLAGS).catch((error: unknown) => {
    if (hasCode(error, 'ELOOP', 'EMLINK')) throw untrusted(path, 'it is a link', 'replace it with a file')
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
  if (!stats.isFile()) throw untrusted(path, 'it is not a file', 'replace it with a file')
  const { uid, mode } = stats
  const ownUid = process.getuid?.()
  // Systems without such permissions have nothing to check.
  if (ownUid === undefined) return
  if (uid !== ownUid) {
    throw untrusted(
      path,
      `it belongs to another user (uid ${uid})`,
      `if it is yours, \`chown ${ownUid} ${path}\``,
    )
  }
  if ((mode & GROUP_AND_OTHERS) !== 0) {
    const octal = (mode & 0o777).toString(8).padStart(3, '0')
    throw untrusted(
      path,
      `others may read or change it (mode ${octal})`,
      `if no one has, \`chmod 600 ${path}\``,
    )
  }
}

const untrusted = (path: string, problem: string, remedy: string): Error =>
  new Error(
    `${path} cannot be trusted because ${problem}: ${remedy}, or remove it to have a new one generated.`,
  )

/**
 * Writes `secret` to a file at `path`, unless the file exists.
 *
 * @returns The secret in the file: if several processes write one at the same time, all get the same secret.
 * @throws {Error} The file is empty or cannot be trusted.
 */
export async function keepSecretFile(path: string, secret: string): Promise<string> {
  // Written under another name and linked: the file appears with its content, and only once.
  const draft = `${path}.${randomBytes(4).toString('hex')}`
  try {
    await writeFile(draft, `${secret}\n`, { mode: PRIVATE, flag: 'wx' })
    await link(draft, path).catch(unless('EEXIST'))
  } finally {
    await rm(draft, { force: true })
  }
  const kept = await readSecretFile(path)
  if (kept) return kept
  throw new Error(`${path} is empty: remove it to have a new one generated.`)
}

const hasCode = (error: unknown, ...codes: readonly string[]): boolean =>
  error instanceof Error && 'code' in error && codes.includes(String(error.code))

/** Returns `undefined` for an error with this code, and throws any other. */
const unless =
  (code: string) =>
  (error: unknown): undefined => {
    if (!hasCode(error, code)) throw error
  }
