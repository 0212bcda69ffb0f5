import { execFile } from 'node:child_process'
import { realpath, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { promisify } from 'node:util'
import { EmbeddedPostgresError } from './embedded-postgres-error.ts'

const run = promisify(execFile)

/** User of a child process, as options of `spawn`: `{}` for the user of this process. */
export type RunAs =
  | { readonly uid: number; readonly gid: number }
  | { readonly uid?: never; readonly gid?: never }

/**
 * Chooses the OS user of the server. PostgreSQL refuses to run as root, so root runs it as the owner of an existing data
 * directory, or as the user `postgres`, which is created if missing. Other users run it as themselves.
 *
 * @throws {EmbeddedPostgresError} Another user owns the data, or the user `postgres` cannot be created.
 */
export async function choosePostgresUser(clusterDir: string): Promise<RunAs> {
  const self = process.geteuid?.()
  const owner = await stat(clusterDir).catch(() => undefined)
  if (self !== 0) {
    if (!owner || self === undefined || owner.uid === self) return {}
    throw new EmbeddedPostgresError(
      `${clusterDir} belongs to another OS user (uid ${owner.uid}): start Porthor as that user, ` +
        'or set DATA_DIR to a directory of your own.',
    )
  }
  if (owner && owner.uid !== 0) return { uid: owner.uid, gid: owner.gid }
  return (await findUser('postgres')) ?? (await createUser('postgres'))
}

async function findUser(name: string): Promise<RunAs | undefined> {
  try {
    const [uid, gid] = await Promise.all([run('id', ['-u', name]), run('id', ['-g', name])])
    return { uid: Number(uid.stdout), gid: Number(gid.stdout) }
  } catch {
    return undefined
  }
}

async function createUser(name: string): Promise<RunAs> {
  const failure = await run('useradd', ['--system', '--user-group', '--shell', '/bin/false', name]).then(
    () => undefined,
    (error: unknown) => error,
  )
  // Also after a failure: another start may have created the user meanwhile.
  const user = await findUser(name)
  if (user) return user
  throw new EmbeddedPostgresError(
    `PostgreSQL does not run as root, and the OS user ${name} could not be created: create it, ` +
      'start Porthor as an ordinary user, or set DATABASE_URL.',
    { cause: failure },
  )
}

/**
 * Finds the outermost directory of `path`, itself included, that `user` may not enter. Considers owner, mode and the
 * primary group of the user only: a spawned process has no other groups.
 */
export async function findClosedDirectory(path: string, user: RunAs): Promise<string | undefined> {
  if (user.uid === undefined) return undefined
  const directories: string[] = []
  for (let dir = await realpath(path); ; dir = dirname(dir)) {
    directories.unshift(dir)
    if (dir === dirname(dir)) break
  }
  for (const dir of directories) {
    const { uid, gid, mode } = await stat(dir)
    const enter = uid === user.uid ? 0o100 : gid === user.gid ? 0o010 : 0o001
    if ((mode & enter) === 0) return dir
  }
  return undefined
}
