import { onTestFinished } from 'vitest'
import type { TokenKey } from '../../../src/domain/token.ts'
import { PendingChangeCompleter } from '../../../src/services/tokens/pending-change-completer.ts'
import { RecordUpdater } from '../../../src/services/tokens/record-updater.ts'
import { TokenRevocationService } from '../../../src/services/tokens/token-revocation-service.ts'
import { WriteLimit } from '../../../src/services/tokens/write-limit.ts'
import { PendingChangeDatabase } from '../../../src/stores/database/pending-change-database.ts'
import { TokenDatabase } from '../../../src/stores/database/token-database.ts'
import { heldUp, makeGate } from '../waiting/gate.ts'
import { overriding } from './token-store.ts'
import type { PorthorInTest } from './use-porthor.ts'

/** Where a revocation can be paused; each is between two of its commands to a store. */
export const REVOCATION_STEPS = ['decided', 'tree locked', 'records deleted'] as const

export type RevocationStep = (typeof REVOCATION_STEPS)[number]

/** Who needs no current token. */
export const OPERATOR = { actor: { kind: 'operator' }, ipAddress: null } as const

/**
 * Starts a revocation by another process, and resolves once it is paused at `step`.
 *
 * @returns A function that lets it continue, and resolves to the revoked keys.
 */
export async function pauseRevocation(
  { h, tokens }: Pick<PorthorInTest, 'h' | 'tokens'>,
  key: TokenKey,
  step: RevocationStep,
): Promise<() => Promise<readonly TokenKey[]>> {
  const { prisma, clock, log } = h.context
  const [reached, released] = [makeGate(), makeGate()]
  const arrive = async (at: RevocationStep) => {
    if (at !== step) return
    reached.open()
    await released.opened
  }
  // The first deletion is of the named token's record, before the transaction that locks the tree.
  let isFirst = true
  const paused = overriding(tokens, {
    delete: async (keys) => {
      const isNamed = isFirst
      isFirst = false
      await arrive(isNamed ? 'decided' : 'tree locked')
      await tokens.delete(keys)
      if (!isNamed) await arrive('records deleted')
    },
  })
  const database = new TokenDatabase(prisma)
  const pendingChanges = new PendingChangeCompleter({
    tokens: paused,
    database,
    pending: new PendingChangeDatabase(prisma),
    updater: new RecordUpdater({ tokens: paused, database, clock }),
    clock,
    log,
  })
  const writeLimit = new WriteLimit()
  const service = new TokenRevocationService({
    tokens: paused,
    database,
    pendingChanges,
    writeLimit,
    clock,
    log,
  })
  onTestFinished(released.open)
  const revoked = heldUp(service.revoke(OPERATOR, key))
  // Rejects if the revocation fails before it gets there.
  await Promise.race([reached.opened, revoked])
  return () => {
    released.open()
    return revoked
  }
}
