import { setTimeout as delay } from 'node:timers/promises'

/** Between two looks, in milliseconds. */
const LOOK_AGAIN_MS = 5

/** Looks again and again until `isSo`. Also outside of tests, where there is no `vi.waitUntil`. */
export async function until(
  isSo: () => boolean | Promise<boolean>,
  { timeoutMs, describe }: { readonly timeoutMs: number; readonly describe: () => string },
): Promise<void> {
  const deadline = performance.now() + timeoutMs
  while (!(await isSo())) {
    if (performance.now() > deadline) throw new Error(`${describe()} within ${timeoutMs} ms`)
    await delay(LOOK_AGAIN_MS)
  }
}
