import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { listPages, PROJECT } from '../docs/pages.ts'
import { readSources, type Source } from './sources.ts'

/**
 * Words that the glossary replaces, each with what to write instead. Only words that are wrong in every sense are here;
 * docs/concepts/glossary.md has them all.
 */
const REPLACED: readonly (readonly [RegExp, string])[] = [
  [/\b(?:lends?|lent|lending)\b/i, 'delegate, reuse'],
  [/\bhand(?:s|ed|ing)? (?:it |them |one )?on\b/i, 'delegate, pass'],
  [/\bacting token\b/i, 'current token'],
  [/\b(?:die|dies|died|dying)\b/i, 'expire, be revoked, end'],
  [/\blife is over\b|\bhalf of (?:its|the|their) life\b/i, 'expired; half of its lifetime'],
  [/\b(?:mend|mends|mended|mending)\b/i, 'fix, repair'],
  [/\bspoilt\b/i, 'unreadable, invalid'],
  [/\bshall\b/i, 'must, is required'],
  [/\banew\b/i, 'again'],
  // "There is none" is how a sentence about a thing that was just named may end.
  [/(?<!\bthere )\b(?:is|are|was|were) none\b|\bhas not got\b|\bbut for\b/i, 'there is no X; except'],
  [/upkeep/i, 'maintenance'],
  [/\btracked cop(?:y|ies)\b|\bTRACKED_COPIES\b/i, 'client-side cache'],
  // `Object.seal` is JavaScript.
  [/(?<!\bObject\.)\b(?:un)?seal(?:s|ed|ing)?\b/i, 'encrypt'],
  [/\bwish(?:es|ed)?\b/i, 'in-flight request'],
  [/plain ?posts?\b|\bshort way\b/i, 'fast path'],
  [/flat ?operations?\b|\bmade ready\b/i, 'prepared operation'],
  [/\b(?:MOST|LONGEST|LARGEST|SHORTEST)_[A-Z]|_AT_ONCE\b/, 'MAX_…, MIN_…, …_BATCH_SIZE'],
  [/\bstop(?:s|ped)? to (?:read|write|listen|ask)\b/i, 'stop reading'],
  [/\b(?:tell|tells|told|telling)\b/i, 'report, log, return'],
  [/\b[WT]S?\d{1,2}\b/, 'what the number stands for'],
]

const GLOSSARY = 'docs/concepts/glossary.md'
const PAGE = /^(?:docs\/|[A-Z]+\.md$)/

const read = (path: string): Source => ({ path, text: readFileSync(new URL(path, PROJECT), 'utf8') })

const texts: readonly Source[] = [
  ...readSources('src'),
  ...readSources('examples'),
  ...[...listPages().filter((path) => PAGE.test(path) && path !== GLOSSARY), 'schema.graphql'].map(read),
]

test('sources, pages and the API schema are read', () => {
  const paths = texts.map(({ path }) => path)
  expect(paths).toEqual(expect.arrayContaining(['src/app.ts', 'README.md', 'CHANGELOG.md', 'schema.graphql']))
})

test.each(REPLACED)('no text has %s, which the glossary replaces: %s', (word, instead) => {
  const found = texts
    .filter(({ text }) => word.test(text))
    .flatMap(({ path, text }) =>
      text
        .split('\n')
        .flatMap((line, index) =>
          word.test(line) ? [`${path}:${index + 1}: say ${instead}: ${line.trim()}`] : [],
        ),
    )
  expect(found).toEqual([])
})
