import { expect, test } from 'vitest'
import { findLines, readSources } from './sources.ts'

/** Globals of Node that a reader expects to mean what they always mean. */
const NAMES = 'process|global|globalThis|console|performance|crypto|fetch|Request|Response|URL|Buffer'
const DECLARES = new RegExp(
  `\\b(?:const|let|function|class)\\s+(?:${NAMES})\\b|[(,{]\\s*(?:process|global|console|performance|crypto|Buffer|URL)\\s*:\\s*[A-Z]`,
)

test('no declaration hides a global of Node', () => {
  expect(readSources('src').flatMap((source) => findLines(source, DECLARES))).toEqual([])
})
