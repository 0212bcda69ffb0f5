import { expect, it } from 'vitest'
import { RateLimitedLog } from '../../src/lib/rate-limited-log.ts'
import { recordingLog } from '../support/checks/log.ts'

it('what strangers cause is logged so many times a minute, and the next line has the number of omitted ones', () => {
  const { log, lines } = recordingLog()
  let now = 5
  const limited = new RateLimitedLog(log, 3, () => now)
  for (let index = 0; index < 10; index += 1) limited.info({ index }, 'refused request')
  now += 59_999
  limited.warn({}, 'refused request')
  expect(lines.map(({ index }) => index)).toEqual([0, 1, 2])
  now += 1
  for (let index = 10; index < 12; index += 1) limited.info({ index }, 'refused request')
  expect(lines.slice(3)).toMatchObject([{ index: 10, suppressed: 8 }, { index: 11 }])
  expect(lines[4]).not.toHaveProperty('suppressed')
})
