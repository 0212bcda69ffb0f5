import type { Environment } from '../../config/config.ts'
import { print, showProgress } from '../output.ts'
import { withApp } from '../with-app.ts'

/** Completes pending changes and runs maintenance once. */
export async function maintain(env: Environment, { json }: { readonly json?: boolean }): Promise<void> {
  const report = await withApp(env, async ({ services }) => {
    const progress = showProgress('records')
    try {
      await services.pendingChanges.completeAll()
      return await services.maintenance.run(progress.update)
    } finally {
      progress.end()
    }
  })
  if (json) return print(JSON.stringify(report ?? { busy: true }))
  if (!report) return print('Another process is running maintenance: nothing to do.')
  const { expired, truncated, orphaned, swept } = report
  print(
    `Removed ${expired} expired tokens, ${truncated} history events past their retention and ${swept} records of the token store, and revoked ${orphaned} orphaned tokens.`,
  )
}
