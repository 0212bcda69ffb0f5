import { expect, it } from 'vitest'
import { FaultLog } from '../../src/lib/fault-log.ts'
import { recordingLog } from '../support/log.ts'

it('a fault is told once while it lasts, and anew when it is another or comes again', () => {
  const { log, lines } = recordingLog()
  const faults = new FaultLog(log)
  const told = () => lines.splice(0).map(({ msg, fault, node }) => [msg, fault, node])

  for (let attempt = 0; attempt < 3; attempt += 1) faults.tell(new Error('refused'), 'lost', { node: 'a' })
  expect(told()).toEqual([['lost', 'refused', 'a']])

  faults.tell(new Error('timed out'), 'lost')
  faults.tell(new Error('timed out'), 'not tracking')
  faults.tell(new Error('refused'), 'lost')
  expect(told()).toEqual([
    ['lost', 'timed out', undefined],
    ['not tracking', 'timed out', undefined],
  ])

  faults.pass()
  faults.tell(new Error('timed out'), 'not tracking')
  expect(told()).toEqual([['not tracking', 'timed out', undefined]])
})
