import { stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { temporaryDirectory } from '../support/processes/cli.ts'
import { runHere } from '../support/processes/command.ts'

/** A place below a file. */
async function belowFile(): Promise<string> {
  const file = join(await temporaryDirectory(), 'file')
  await writeFile(file, '')
  return join(file, 'data')
}

describe('a data directory that cannot be written to is reported in one line, at once', () => {
  it.each([
    ['under /proc, where Node would look for ever', async () => '/proc/porthor'],
    ['far under /proc', async () => '/proc/porthor/data'],
    ['below a file', belowFile],
  ])('%s', async (_what, place) => {
    const dataDir = await place()
    expect(await runHere(['migrate'], { DATA_DIR: dataDir })).toEqual({
      code: 1,
      stdout: '',
      stderr: `porthor: Porthor cannot write to ${dataDir}: set DATA_DIR to a directory that it may write to, or set DATABASE_URL.\n`,
    })
  })
})

it.each([[['token', 'list']], [['audit']], [['maintenance']]])(
  '%s creates no data directory',
  async (args) => {
    const dataDir = join(await temporaryDirectory(), 'elsewhere')
    const { stdout, stderr } = await runHere(args, { DATA_DIR: dataDir })
    expect([stdout, stderr]).toEqual([
      '',
      `porthor: The data directory ${dataDir} does not exist: set DATA_DIR or DATABASE_URL as for the server, or create one with \`porthor serve\` or \`porthor migrate\`.\n`,
    ])
    await expect(stat(dataDir)).rejects.toThrow('ENOENT')
  },
)
