import { vi } from 'vitest'
import { run } from '../../../src/cli/program.ts'
import type { Environment } from '../../../src/config/config.ts'

/** How a command ended, and what it printed. */
export interface CommandResult {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/**
 * Runs `porthor` in this process, which is as quick as the command's work; `runPorthor` takes seconds. One
 * at a time. Only errors are logged, to the standard error of the tests.
 */
export async function runHere(args: readonly string[], env: Environment): Promise<CommandResult> {
  const printed = { stdout: '', stderr: '' }
  const spies = (['stdout', 'stderr'] as const).map((name) =>
    vi.spyOn(process[name], 'write').mockImplementation((text) => {
      printed[name] += String(text)
      return true
    }),
  )
  try {
    const code = await run(['node', 'porthor', ...args], { ...env, LOG_LEVEL: 'error' })
    return { code, ...printed }
  } finally {
    for (const spy of spies) spy.mockRestore()
  }
}

/** What `stderr` tells people, line by line; the rest of it is log. */
export const faultsIn = (stderr = ''): string[] =>
  stderr.split('\n').filter((line) => line !== '' && !line.startsWith('{'))
