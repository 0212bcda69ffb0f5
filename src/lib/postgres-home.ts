import { createHash, randomBytes } from 'node:crypto'
import { chmod, cp, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { makeDirectory } from './make-directory.ts'
import type { PostgresBinaries } from './postgres-binaries.ts'
import { findClosedDirectory, type RunAs } from './postgres-os-user.ts'

/**
 * Where root puts what the server must reach when its own place is below a directory that is closed to
 * others, as root's home directory is: PostgreSQL does not run as root.
 */
const OPEN_PLACE = '/var/lib/porthor'

/** `dataDir`, or where the user cannot get there, a directory that stands for it and that the user can reach. */
export async function findReachableHome(dataDir: string, user: RunAs): Promise<string> {
  if ((await findClosedDirectory(dirname(dataDir), user)) === undefined) return dataDir
  const name = createHash('sha256').update(dataDir).digest('hex').slice(0, 16)
  return join(OPEN_PLACE, name)
}

/** The programs, or where the user cannot get there, a copy of them that the user can reach. */
export async function findReachableBinaries(found: PostgresBinaries, user: RunAs): Promise<PostgresBinaries> {
  const native = dirname(dirname(found.postgres))
  if ((await findClosedDirectory(dirname(found.postgres), user)) === undefined) return found
  const { mtimeMs, size } = await stat(found.postgres)
  const copy = join(OPEN_PLACE, `programs-${size}-${Math.floor(mtimeMs)}`)
  if (!(await stat(copy).catch(() => undefined))) await copyAside(native, copy)
  const inCopy = (program: string): string => join(copy, 'bin', basename(program))
  return { initdb: inCopy(found.initdb), postgres: inCopy(found.postgres) }
}

/** Copied under another name and renamed when complete; of several copies at once the first stays. */
async function copyAside(source: string, target: string): Promise<void> {
  const draft = `${target}.${randomBytes(4).toString('hex')}`
  await makeDirectory(dirname(target))
  // Whatever the umask is: the user must get to it.
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
