import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { type CliProcess, isAlive, startPorthor, temporaryDirectory } from '../support/processes/cli.ts'
import { PORTHOR } from '../support/processes/program.ts'
import { openRaw } from '../support/requests/raw-http.ts'
import { copyUsedDataDir } from '../support/stores/stores.ts'

// Each starts a PostgreSQL of its own, which takes its time on a busy machine.
vi.setConfig({ testTimeout: 240_000 })

const postmasterOf = async (dataDir: string): Promise<number> =>
  Number.parseInt(await readFile(join(dataDir, 'postgres', 'postmaster.pid'), 'utf8'), 10)

/** A server in development that listens, and the process of its embedded PostgreSQL. */
async function openServer() {
  const dataDir = await temporaryDirectory()
  await copyUsedDataDir(dataDir)
  const server = startPorthor(['serve'], { PORT: '0', DATA_DIR: dataDir })
  const [, url = ''] = await server.prints(/Porthor is listening: +(\S+)/)
  return { server, url, dataDir, postmaster: await postmasterOf(dataDir) }
}

const interrupt = ({ pid }: CliProcess, signal: NodeJS.Signals = 'SIGINT'): boolean => {
  try {
    return process.kill(pid, signal)
  } catch {
    return false
  }
}

describe('the embedded PostgreSQL stops with a server', () => {
  it.each<NodeJS.Signals[]>([
    ['SIGINT', 'SIGINT'],
    ['SIGINT', 'SIGTERM', 'SIGINT'],
    ['SIGHUP'],
    ['SIGHUP', 'SIGHUP'],
    ['SIGQUIT'],
    ['SIGTERM', 'SIGTERM'],
  ])('which stops in order at %s %s %s', async (...signals) => {
    const { server, postmaster } = await openServer()
    for (const signal of signals) if (signal) interrupt(server, signal)
    expect(await server.ended).toMatchObject({ code: 0, signal: null })
    expect(isAlive(postmaster)).toBe(false)
    expect(server.stdout()).toContain('"msg":"stopped"')
  })

  it('which is forced by one more Ctrl-C when it takes too long to stop', async () => {
    const { server, url, postmaster } = await openServer()
    const slow = await openRaw(url)
    onTestFinished(() => void slow.socket.destroy())
    slow.socket.write('POST /graphql HTTP/1.1\r\nHost: porthor\r\nContent-Length: 10\r\n\r\n{')
    const ended = vi.fn()
    void server.ended.then(ended)
    await vi.waitFor(
      () => {
        interrupt(server)
        expect(ended).toHaveBeenCalled()
      },
      { timeout: 50_000, interval: 50 },
    )
    // One that comes while the process exits already ends it as by default.
    const { code, signal } = await server.ended
    expect([1, 'SIGINT']).toContain(code ?? signal)
    await expect.poll(() => isAlive(postmaster), { timeout: 10_000 }).toBe(false)
  })

  it('whose npm was ended by a signal that it does not pass on', async () => {
    const dataDir = await temporaryDirectory()
    await copyUsedDataDir(dataDir)
    const env = { PATH: process.env.PATH, DATA_DIR: dataDir, PORT: '0', npm_lifecycle_event: 'start' }
    const parent = spawn('bash', ['-c', '"$0" "$1" serve & wait', process.execPath, PORTHOR], {
      env,
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    let printed = ''
    parent.stdout.setEncoding('utf8').on('data', (text: string) => {
      printed += text
    })
    await expect.poll(() => printed, { timeout: 60_000 }).toContain('Porthor is listening')
    const postmaster = await postmasterOf(dataDir)
    const ended = once(parent.stdout, 'end')
    parent.kill('SIGKILL')
    await ended
    expect(isAlive(postmaster)).toBe(false)
    expect(printed).toContain('"msg":"stopped"')
  })
})
