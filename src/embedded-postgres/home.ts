import { createHash, randomBytes } from 'node:crypto'
import { chmod, cp, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { makeDirectory } from '../lib/make-directory.ts'
import type { PostgresBinaries } from './binaries.ts'
import { findClosedDirectory, type RunAs } from './os-user.ts'

/**
 * Directory for the files of the server where root starts it and the configured one is below a directory that other
 * users cannot enter, such as root's home: PostgreSQL does not run as root.
 */
const SHARED_DIRECTORY = '/var/lib/porthor'

/** Returns `dataDir`, or if the user cannot enter it, the directory below `/var/lib/porthor` that replaces it. */
export async function findReachableHome(dataDir: string, user: RunAs): Promise<string> {
  if ((await findClosedDirectory(dirname(dataDir), user)) === undefined) return dataDir
  const name = createHash('sha256').update(dataDir).digest('hex').slice(0, 16)
  return join(SHARED_DIRECTORY, name)
}

/** Returns the programs, or if the user cannot enter their directory, a copy that the user can run. */
export async function findReachableBinaries(found: PostgresBinaries, user: RunAs): Promise<PostgresBinaries> {
  const native = dirname(dirname(found.postgres))
  if ((await findClosedDirectory(dirname(found.postgres), user)) === undefined) return found
  const { mtimeMs, size } = await stat(found.postgres)
  const copy = join(SHARED_DIRECTORY, `programs-${size}-${Math.floor(mtimeMs)}`)
  if (!(await stat(copy).catch(() => undefined))) await copyAside(native, copy)
  const inCopy = (program: string): string => join(copy, 'bin', basename(program))
  return { initdb: inCopy(found.initdb), postgres: inCopy(found.postgres) }
}

/** Copies to another name and renames the complete copy. Of several copies at the same time, the first stays. */
async function copyAside(source: string, target: string): Promise<void> {
  const draft = `${target}.${randomBytes(4).toString('hex')}`
  await makeDirectory(dirname(target))
  // Despite the umask: the user must be able to enter it.
  await chmod(dirname(target), 0o755)
  try {
    await cp(source, draft, { recursive: true, verbatimSymlinks: true })
    await rename(draft, target)
  } catch (error) {
    if (!(await stat(target).catch(() => undefined))) throw error
  } finally {
    await rm(draft, { recursive: true, force: true })
  }
}
