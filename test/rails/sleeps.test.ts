import { expect, test } from 'vitest'
import { findLines, readSources } from './sources.ts'

/** Files that may wait for a time, each with its reason. */
const ALLOWED = new Map([
  ['test/support/waiting/until.ts', 'looks again until a condition holds'],
  ['test/support/porthor/tracked-pair.ts', 'asks again until a revocation is seen'],
  ['test/processes/life-of-tokens.property.test.ts', 'kills a process at a random moment'],
])

const SLEEPS = /\bsetTimeout\b.*\btimers\/promises'|\bsetTimeout\((?:resolve|done)\b/

test('no test sleeps instead of waiting for an event or moving a clock', () => {
  const sources = readSources('test').filter(({ path }) => path !== 'test/rails/sleeps.test.ts')
  const sleeping = sources.filter((source) => findLines(source, SLEEPS).length > 0)
  expect(sleeping.map(({ path }) => path).sort()).toEqual([...ALLOWED.keys()].sort())
})
