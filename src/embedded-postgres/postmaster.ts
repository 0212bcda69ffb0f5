import { execFile } from 'node:child_process'
import { readlinkSync, realpathSync } from 'node:fs'
import { link, readFile, readlink, realpath, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { systemClock } from '../lib/clock.ts'

const run = promisify(execFile)

/** A running server, as described by `postmaster.pid` in its data directory. */
export interface Postmaster {
  readonly pid: number
  readonly port: number
}

/** A `postmaster.pid` that is empty for longer than this was left by a crash, in milliseconds. */
const EMPTY_FILE_IS_STALE_MS = 5_000

/**
 * Finds the server that is running on this data directory.
 *
 * PostgreSQL ignores a `postmaster.pid` whose process has ended, but not one whose process id now belongs to another
 * program, as after a reboot or in a container. This function removes such a file.
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
      // Kept if the process has ended: PostgreSQL finds its surviving child processes by the file.
      if (isAlive(pid)) await removeStale(path, text)
      return undefined
    }
    const now = systemClock.now().getTime()
    const { mtimeMs } = await stat(path).catch(() => ({ mtimeMs: now }))
    if (now - mtimeMs > EMPTY_FILE_IS_STALE_MS) await removeStale(path, text)
    await delay(20)
  }
}

/** Whether a process with this id exists, whoever its user is. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
}

/**
 * Whether process `pid` is a server on this data directory, which is then its working directory. False for a process that
 * has ended, even if its parent has not reaped it.
 */
export async function servesHere(pid: number, clusterDir: string): Promise<boolean> {
  const here = await realpath(clusterDir).catch(() => clusterDir)
  if (process.platform === 'linux') {
    const there = await readlink(`/proc/${pid}/cwd`).catch(() => undefined)
    // The directory may have been removed while the server runs.
    return there === here || there === `${here} (deleted)`
  }
  const { stdout } = await run('ps', ['-ww', '-o', 'command=', '-p', String(pid)]).catch(() => ({
    stdout: '',
  }))
  return stdout.includes(here) || stdout.includes(clusterDir)
}

/** Ends the server on this data directory immediately. Like after a crash, it replays its log at the next start. */
export function endAtOnce(pid: number, clusterDir: string): void {
  try {
    // The process id may belong to another program by now.
    const isOurs =
      process.platform !== 'linux' || readlinkSync(`/proc/${pid}/cwd`).startsWith(realpathSync(clusterDir))
    if (isOurs) process.kill(pid, 'SIGQUIT')
  } catch {
    // It has ended.
  }
}

/**
 * Removes the file at `path` if it still has the content `stale`. Another start may have written its own file since: that
 * one is restored.
 */
async function removeStale(path: string, stale: string): Promise<void> {
  const aside = `${path}.stale-${process.pid}`
  try {
    await rename(path, aside)
    if ((await readFile(aside, 'utf8')) !== stale) await link(aside, path)
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && /^(ENOENT|EEXIST)$/.test(String(error.code))))
      throw error
  } finally {
    await rm(aside, { force: true })
  }
}
