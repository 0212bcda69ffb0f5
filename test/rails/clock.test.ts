import { expect, test } from 'vitest'
import { findLines, readSources } from './sources.ts'

const ASKS_THE_TIME = /\bDate\.now\(|\bnew Date\(\)|\bperformance\.(now|timeOrigin)\b|\bprocess\.hrtime\b/

test('only `lib/clock.ts` asks what time it is', () => {
  const others = readSources('src').filter(({ path }) => path !== 'src/lib/clock.ts')
  expect(others.flatMap((source) => findLines(source, ASKS_THE_TIME))).toEqual([])
})
