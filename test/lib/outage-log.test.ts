import { expect, it } from 'vitest'
import { OutageLog } from '../../src/lib/outage-log.ts'
import { recordingLog } from '../support/checks/log.ts'

it('an error is logged once during an outage, and again if it is another one or occurs after a recovery', () => {
  const { log, lines } = recordingLog()
  const outage = new OutageLog(log)
  const logged = () => lines.splice(0).map(({ msg, reason, node }) => [msg, reason, node])

  for (let attempt = 0; attempt < 3; attempt += 1) outage.report(new Error('refused'), 'lost', { node: 'a' })
  expect(logged()).toEqual([['lost', 'refused', 'a']])

  outage.report(new Error('timed out'), 'lost')
  outage.report(new Error('timed out'), 'not tracking')
  outage.report(new Error('refused'), 'lost')
  expect(logged()).toEqual([
    ['lost', 'timed out', undefined],
    ['not tracking', 'timed out', undefined],
  ])

  outage.recovered()
  outage.report(new Error('timed out'), 'not tracking')
  expect(logged()).toEqual([['not tracking', 'timed out', undefined]])
})
