import { setTimeout as delay } from 'node:timers/promises'
import { type App, type AppDependencies, assertStoreUsable, openApp } from '../app.ts'
import type { Config } from '../config/config.ts'

/** Maximum time that a start waits for the token store, in milliseconds. */
const MAX_WAIT_MS = 10_000

/** Pause between two attempts, in milliseconds. Each attempt waits for the store too. */
const PAUSE_MS = 50

/**
 * Checks that the token store can be used, opens the app, and waits until the token store is used. A Redis that has just
 * restarted may need seconds until recent history is applied to it. If it is unavailable, nothing is waited for.
 *
 * @throws {RedisSetupError}
 */
export async function openUsableApp(
  config: Config,
  deps: AppDependencies,
  options?: Parameters<typeof assertStoreUsable>[1],
): Promise<App> {
  const isAvailable = await assertStoreUsable(config, options)
  const app = openApp(config, deps)
  if (isAvailable) await waitForStore(app)
  return app
}

async function waitForStore({ isStoreUsed, clock, log }: App): Promise<void> {
  const deadline = clock.monotonicMs() + MAX_WAIT_MS
  let isReported = false
  while (!(await isStoreUsed())) {
    if (clock.monotonicMs() >= deadline) return
    if (!isReported) log.warn('waiting for the token store: recent history is being applied to Redis')
    isReported = true
    await delay(PAUSE_MS)
  }
}
