import { expect, it } from 'vitest'
import { EqualLines } from '../../src/lib/equal-lines.ts'
import { createLogger } from '../../src/lib/logger.ts'

it('of lines that say the same few are logged in a minute, with how many were left out, and others with them', () => {
  let now = 0
  const written: { readonly fault: string; readonly suppressed?: number }[] = []
  const log = createLogger('info', { write: (line: string) => void written.push(JSON.parse(line)) })
  const lines = new EqualLines(log, () => now)
  for (let request = 0; request < 500; request += 1) {
    lines.warn(`refused by 127.0.0.1:${request}`, { fault: 'refused' }, 'a store did not answer')
  }
  lines.warn('timed out', { fault: 'timed out' }, 'a store did not answer')
  expect(written.map(({ fault }) => fault)).toEqual([...Array(6).fill('refused'), 'timed out'])
  now += 60_000
  lines.warn('refused by 127.0.0.1:1', { fault: 'refused' }, 'a store did not answer')
  expect(written.at(-1)).toMatchObject({ fault: 'refused', suppressed: 494 })
})
