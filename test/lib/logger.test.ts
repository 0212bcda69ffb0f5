import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { describe, expect, it, onTestFinished } from 'vitest'
import { createLogger } from '../../src/lib/logger.ts'

/** The lines that a logger of `level` writes while `use` has it. */
function logged(use: (log: ReturnType<typeof createLogger>) => void, level = 'info') {
  const lines: Record<string, unknown>[] = []
  use(createLogger(level, { write: (line: string) => void lines.push(JSON.parse(line)) }))
  return lines
}

describe('an error in the log', () => {
  it('is logged with name, message, code and stack, without other properties', () => {
    const error = Object.assign(new TypeError('lost'), {
      code: 'ECONNRESET',
      command: { name: 'set', args: ['token:abc', 'hunter2'] },
      parameters: ['hunter2'],
    })
    const [line] = logged((log) => log.error({ err: error }, 'failed'))

    expect(line).toMatchObject({
      msg: 'failed',
      err: { type: 'TypeError', message: 'lost', code: 'ECONNRESET', stack: expect.stringContaining('lost') },
    })
    expect(JSON.stringify(line)).not.toContain('hunter2')
  })

  it('is logged with its causes, in the same form', () => {
    const root = Object.assign(new Error('refused'), { code: 'ECONNREFUSED', detail: 'hunter2' })
    const [line] = logged((log) => log.error({ err: new Error('no answer', { cause: root }) }))

    expect(line).toMatchObject({ err: { cause: { message: 'refused', code: 'ECONNREFUSED' } } })
    expect(JSON.stringify(line)).not.toContain('hunter2')
  })

  it('that causes itself does not go on for ever', () => {
    const error = new Error('round')
    error.cause = error

    expect(logged((log) => log.error({ err: error }))).toMatchObject([{ err: { message: 'round' } }])
  })

  it.each([
    ['text', 'hunter2', 'string'],
    ['an object', { password: 'hunter2' }, 'object'],
  ])('that is %s instead is logged by its type alone', (_what, thrown, type) => {
    const [line] = logged((log) => log.error({ err: thrown }))

    expect(line).toMatchObject({ err: type })
    expect(JSON.stringify(line)).not.toContain('hunter2')
  })
})

it('lines below the level are not written', () => {
  const levels = logged((log) => {
    log.info('heard')
    log.warn('seen')
  }, 'warn')

  expect(levels.map(({ msg }) => msg)).toEqual(['seen'])
})

it('lines have the time in ISO 8601, and nothing about the machine', () => {
  const [line] = logged((log) => log.info('started'))

  expect(line).toEqual({
    level: 30,
    time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
    msg: 'started',
  })
})

describe('what is logged last', () => {
  const script = fileURLToPath(new URL('../support/processes/log-process.ts', import.meta.url))

  function start() {
    const child = spawn(process.execPath, ['--import', 'tsx', script], { stdio: ['pipe', 'pipe', 'inherit'] })
    onTestFinished(() => void child.kill('SIGKILL'))
    return { child, exited: once(child, 'exit') }
  }

  it('is written when the process ends', async () => {
    const { child, exited } = start()
    child.stdin.end('go')
    const lines = (await child.stdout.setEncoding('utf8').toArray()).join('').trimEnd().split('\n')
    expect(lines.map((line) => JSON.parse(line).msg)).toEqual(['first', 'last'])
    expect(await exited).toEqual([0, null])
  })

  it('prevents no process from ending where the reader has gone', async () => {
    const { child, exited } = start()
    await once(child.stdout, 'data')
    child.stdout.destroy()
    child.stdin.end('go')
    expect(await exited).toEqual([0, null])
  })
})
