import type { Environment } from '../../config/config.ts'
import type { AuditedFinding } from '../../services/maintenance/audit-service.ts'
import { escapeControls, note, print, showProgress } from '../output.ts'
import { UsageError } from '../usage-error.ts'
import { withApp } from '../with-app.ts'

export interface AuditFlags {
  readonly fix?: boolean
  readonly deleteUnreadable?: boolean
  readonly json?: boolean
}

/** Exit codes, so that a scheduler can distinguish the outcomes. */
const CLEAN = 0
const FINDINGS_LEFT = 1

/** Compares the two stores and prints each finding as soon as it is made. Returns the exit code. */
export async function audit(
  env: Environment,
  { fix = false, deleteUnreadable = false, json = false }: AuditFlags,
): Promise<number> {
  if (deleteUnreadable && !fix) throw new UsageError('--delete-unreadable requires --fix.')
  const counts = { found: 0, left: 0, unreadable: 0 }
  await withApp(env, async ({ services }) => {
    if (!fix) await services.encryptionKeys.warn()
    const progress = showProgress('records')
    for await (const finding of services.audit.run({ fix, deleteUnreadable, onProgress: progress.update })) {
      progress.end()
      counts.found += 1
      if (!finding.isFixed) counts.left += 1
      if (!finding.isFixed && finding.kind === 'malformed') counts.unreadable += 1
      print(json ? JSON.stringify(finding) : describe(finding))
    }
    progress.end()
  })
  if (!json) {
    print(
      counts.found === 0
        ? 'The stores agree.'
        : `${counts.found} ${counts.found === 1 ? 'finding' : 'findings'}, ${counts.found - counts.left} fixed.`,
    )
  }
  if (counts.unreadable > 0) note(describeUnreadable(counts.unreadable))
  return counts.left === 0 ? CLEAN : FINDINGS_LEFT
}

const describeUnreadable = (count: number): string =>
  `${count} ${count === 1 ? 'record' : 'records'} cannot be read, and ${count === 1 ? 'is' : 'are'} kept. If an encryption key is missing, add it to SESSION_SECRET. To delete damaged records, use --fix --delete-unreadable.`

const describe = ({ kind, key, username, detail, isFixed }: AuditedFinding): string =>
  escapeControls(`${kind}  ${key ?? '-'}  ${username ?? '-'}  ${detail}${isFixed ? '  (fixed)' : ''}`)
