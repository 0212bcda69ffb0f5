import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { makeDirectory } from '../../src/lib/make-directory.ts'

let directory: string

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'porthor-make-directory-'))
})
afterEach(() => rm(directory, { recursive: true }))

const modeOf = async (path: string): Promise<string> => ((await stat(path)).mode & 0o777).toString(8)

describe('makeDirectory', () => {
  it('creates a directory and its missing parents, and gives the mode to the directory alone', async () => {
    const wanted = join(directory, 'var', 'data')
    await makeDirectory(wanted, 0o700)
    expect(await modeOf(wanted)).toBe('700')
    expect((await stat(join(directory, 'var'))).isDirectory()).toBe(true)
  })

  it('leaves a directory as it is that exists already', async () => {
    await makeDirectory(join(directory, 'data'), 0o700)
    await makeDirectory(join(directory, 'data'), 0o755)
    expect(await modeOf(join(directory, 'data'))).toBe('700')
  })

  it.runIf(process.platform === 'linux').each(['/proc/porthor', '/proc/porthor/data'])(
    'rejects, instead of trying for ever, where the system accepts no directory: %s',
    async (path) => {
      await expect(makeDirectory(path)).rejects.toThrow('ENOENT')
    },
  )

  it('rejects below a file', async () => {
    await writeFile(join(directory, 'file'), '')
    await expect(makeDirectory(join(directory, 'file', 'data'))).rejects.toThrow('ENOTDIR')
  })
})
