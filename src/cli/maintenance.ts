import type { Environment } from '../config.ts'
import { print, showProgress } from './output.ts'
import { withContext } from './tool.ts'

/** Completes changes that are decided, and removes expired tokens and old history, once. */
export async function maintain(env: Environment, { json }: { readonly json?: boolean }): Promise<void> {
  const report = await withContext(env, async ({ services }) => {
    const progress = showProgress('records')
    try {
      await services.finisher.run()
      return await services.upkeep.run(progress.update)
    } finally {
      progress.end()
    }
  })
  if (json) return print(JSON.stringify(report ?? { busy: true }))
  if (!report) return print('Another process is at it already: nothing to do.')
  const { expired, truncated, orphaned, swept } = report
  print(
    `Removed ${expired} expired tokens, ${truncated} history entries past their retention and ${swept} entries of the token store, and revoked ${orphaned} tokens whose parent is gone.`,
  )
}
