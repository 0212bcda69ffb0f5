import { execFile } from 'node:child_process'
import { readlinkSync, realpathSync } from 'node:fs'
import { link, readFile, readlink, realpath, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** A running server, as the `postmaster.pid` in its data directory tells it. */
export interface Postmaster {
  readonly pid: number
  readonly port: number
}

/** A `postmaster.pid` that stays without content for this long was left by a crash, in milliseconds. */
const EMPTY_FILE_IS_STALE_MS = 5_000

/**
 * The server at work on this data directory, or `undefined` when there is none.
 *
 * PostgreSQL itself ignores a `postmaster.pid` whose process is gone, but not one whose number now belongs to
 * another program, as after a reboot or in a container; such a file is taken away here.
 */
export async function findPostmaster(clusterDir: string): Promise<Postmaster | undefined> {
  const path = join(clusterDir, 'postmaster.pid')
  for (;;) {
    const text = await readFile(path, 'utf8').catch(() => undefined)
    if (text === undefined) return undefined
    // Lines: process id, data directory, start time, port, ...
    const lines = text.split('\n')
    const pid = Number(lines[0])
    const port = Number(lines[3])
    if (pid > 0 && port > 0) {
      if (await servesHere(pid, clusterDir)) return { pid, port }
      // Left alone when the process is gone: the file leads PostgreSQL to children that may have outlived it.
      if (isAlive(pid)) await removeStale(path, text)
      return undefined
    }
    const { mtimeMs } = await stat(path).catch(() => ({ mtimeMs: Date.now() }))
    if (Date.now() - mtimeMs > EMPTY_FILE_IS_STALE_MS) await removeStale(path, text)
    await delay(20)
  }
}

/** Whether there is a process of this number, be it someone else's. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
}

/**
 * Whether process `pid` is a server on this data directory; a server has it as its working directory.
 * False for one that has ended, even if it is not yet reaped.
 */
export async function servesHere(pid: number, clusterDir: string): Promise<boolean> {
  const here = await realpath(clusterDir).catch(() => clusterDir)
  if (process.platform === 'linux') {
    const there = await readlink(`/proc/${pid}/cwd`).catch(() => undefined)
    // Somebody may have removed the directory from under the server.
    return there === here || there === `${here} (deleted)`
  }
  const { stdout } = await run('ps', ['-ww', '-o', 'command=', '-p', String(pid)]).catch(() => ({
    stdout: '',
  }))
  return stdout.includes(here) || stdout.includes(clusterDir)
}

/** Ends the server on this data directory at once, as a crash would: it replays its log at the next start. */
export function endAtOnce(pid: number, clusterDir: string): void {
  try {
    // The number may be another program's by now.
    const isOurs =
      process.platform !== 'linux' || readlinkSync(`/proc/${pid}/cwd`).startsWith(realpathSync(clusterDir))
    if (isOurs) process.kill(pid, 'SIGQUIT')
  } catch {
    // It has ended.
  }
}

/**
 * Removes `path` if it still has the content that was judged. Another start may have put its own file there
 * since: that one is put back.
 */
async function removeStale(path: string, judged: string): Promise<void> {
  const aside = `${path}.stale-${process.pid}`
  try {
    await rename(path, aside)
    if ((await readFile(aside, 'utf8')) !== judged) await link(aside, path)
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && /^(ENOENT|EEXIST)$/.test(String(error.code))))
      throw error
  } finally {
    await rm(aside, { force: true })
  }
}
