import { expect, it } from 'vitest'
import { createLogger } from '../../src/lib/logger.ts'
import { RepeatLimitedLog } from '../../src/lib/repeat-limited-log.ts'

it('of equal lines six are logged per minute, then how many were suppressed; other lines are not suppressed with them', () => {
  let now = 0
  const written: { readonly reason: string; readonly suppressed?: number }[] = []
  const log = createLogger('info', { write: (line: string) => void written.push(JSON.parse(line)) })
  const lines = new RepeatLimitedLog(log, () => now)
  for (let request = 0; request < 500; request += 1) {
    lines.warn(`refused by 127.0.0.1:${request}`, { reason: 'refused' }, 'a store did not answer')
  }
  lines.warn('timed out', { reason: 'timed out' }, 'a store did not answer')
  expect(written.map(({ reason }) => reason)).toEqual([...Array(6).fill('refused'), 'timed out'])
  now += 60_000
  lines.warn('refused by 127.0.0.1:1', { reason: 'refused' }, 'a store did not answer')
  expect(written.at(-1)).toMatchObject({ reason: 'refused', suppressed: 494 })
})
