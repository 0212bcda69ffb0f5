import { access, chmod, constants, readFile, stat, symlink } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { arch, platform } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { pathToFileURL } from 'node:url'
import { EmbeddedPostgresError } from './embedded-postgres-error.ts'

export interface PostgresBinaries {
  readonly initdb: string
  readonly postgres: string
}

const EXECUTABLE = 0o555

/**
 * Finds the PostgreSQL programs of the `embedded-postgres` package for this platform. Adds what an installation without
 * install scripts lacks: links between libraries, and file modes.
 *
 * The class of the package is not used: it ends this process on SIGINT and SIGTERM before requests are drained, runs the
 * server in the process group of this process, and never returns from stopping a server that has already ended.
 */
export async function findPostgresBinaries(): Promise<PostgresBinaries> {
  const name = `@embedded-postgres/${platform() === 'win32' ? 'windows' : platform()}-${arch()}`
  const found = await resolvePlatformPackage(name)
  await Promise.all([
    linkLibraries(dirname(dirname(dirname(found.postgres)))),
    makeExecutable(found.initdb),
    makeExecutable(found.postgres),
  ])
  return found
}

async function resolvePlatformPackage(name: string): Promise<PostgresBinaries> {
  try {
    // The platform package is a dependency of embedded-postgres, and so resolved from there.
    const own = createRequire(import.meta.url)
    const path = createRequire(own.resolve('embedded-postgres')).resolve(name)
    return (await import(pathToFileURL(path).href)) as PostgresBinaries
  } catch (cause) {
    throw new EmbeddedPostgresError(
      `There is no embedded PostgreSQL for this platform (${name} is not installed): install with optional ` +
        'dependencies, or set DATABASE_URL to a PostgreSQL server.',
      { cause },
    )
  }
}

/** Does what the install script of the package does, which npm may not have run. */
async function linkLibraries(packageDir: string): Promise<void> {
  const list = await readFile(join(packageDir, 'native', 'pg-symlinks.json'), 'utf8').catch(() => '[]')
  for (const { source, target } of JSON.parse(list) as { source: string; target: string }[]) {
    const path = join(packageDir, target)
    const content = relative(dirname(path), join(packageDir, source))
    await access(path).catch(() => symlink(content, path).catch(() => undefined))
  }
}

async function makeExecutable(path: string): Promise<void> {
  const { mode } = await stat(path)
  if ((mode & EXECUTABLE) === EXECUTABLE) return
  // A user who may not change the mode may still be allowed to run the program.
  await chmod(path, mode | EXECUTABLE).catch(() => access(path, constants.X_OK))
}
