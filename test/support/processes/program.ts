import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

export const PROJECT = fileURLToPath(new URL('../../..', import.meta.url))

/** The program as users run it: built, which also starts in half the time. */
export const PORTHOR = fileURLToPath(new URL('../../../dist/main.js', import.meta.url))

/** Builds the program from what is there now. */
export async function buildProgram(): Promise<void> {
  const tsc = fileURLToPath(new URL('../../../node_modules/typescript/bin/tsc', import.meta.url))
  await promisify(execFile)(process.execPath, [tsc, '-p', 'tsconfig.build.json'], { cwd: PROJECT })
}
