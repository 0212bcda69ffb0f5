import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  formatCursor,
  type Page,
  type PageRequest,
  parseCursor,
  parsePage,
  toPage,
} from '../../src/domain/page.ts'
import { failure } from '../support/checks/failures.ts'
import { NOW } from '../support/tokens/token-data.ts'

const POSITION = { at: NOW, tie: '17' }
const CURSOR = formatCursor('change', POSITION)

const encode = (text: string): string => Buffer.from(text).toString('base64url')

describe('a cursor', () => {
  it('leads back to its position', () => {
    const at = fc.date({ min: new Date(0), max: new Date('9999-12-31'), noInvalidDate: true })
    const key = fc.stringMatching(/^[\w-]{22}$/)
    const id = fc.integer({ min: 0, max: 2 ** 31 - 1 }).map(String)
    fc.assert(
      fc.property(at, key, id, (time, token, change) => {
        expect(parseCursor('token', formatCursor('token', { at: time, tie: token }))).toEqual({
          at: time,
          tie: token,
        })
        expect(parseCursor('change', formatCursor('change', { at: time, tie: change }))).toEqual({
          at: time,
          tie: change,
        })
      }),
    )
  })

  it('of a key with a slash in it leads back too', () => {
    const position = { at: NOW, tie: 'a/b/c' }

    expect(parseCursor('token', formatCursor('token', position))).toEqual(position)
  })

  it.each([
    ['is empty', ''],
    ['is text', 'newest'],
    ['is of another list', formatCursor('token', POSITION)],
    ['has no time', encode('change//17')],
    ['has a time that is none', encode('change/now/17')],
    ['has a negative time', encode('change/-1/17')],
    [
      'has a time in a year of five digits, which PostgreSQL does not read',
      encode('change/999999999999999/17'),
    ],
    ['has no number', encode('change/0/')],
    ['has a number that is none', encode('change/0/x')],
    ['has a number beyond 32 bits', encode('change/0/2147483648')],
    ['has a part too many', encode('change/0/17/18')],
    ['has SQL in it', encode(`change/0/1'; --`)],
  ])('that %s is refused', (_what, cursor) => {
    expect(() => parseCursor('change', cursor)).toThrow(failure('INVALID_CURSOR'))
  })

  it.each([
    ['no key', encode('token/0/')],
    ['NUL in its key, which PostgreSQL cannot look for', encode('token/0/a\0b')],
    ['a key without end', encode(`token/0/${'x'.repeat(65)}`)],
  ])('of a token with %s is refused', (_what, cursor) => {
    expect(() => parseCursor('token', cursor)).toThrow(failure('INVALID_CURSOR'))
  })
})

describe('the arguments of a connection', () => {
  it.each([
    ['nothing: the first 50', {}, { size: 50, from: 'start', after: null, before: null }],
    [
      'nulls: the first 50',
      { first: null, after: null, last: null, before: null },
      { size: 50, from: 'start' },
    ],
    ['first', { first: 1 }, { size: 1, from: 'start' }],
    ['first and after', { first: 500, after: CURSOR }, { size: 500, from: 'start', after: POSITION }],
    ['after alone', { after: CURSOR }, { size: 50, from: 'start', after: POSITION }],
    ['last: from the end', { last: 3 }, { size: 3, from: 'end', after: null }],
    ['last and before', { last: 3, before: CURSOR }, { size: 3, from: 'end', before: POSITION }],
    [
      'before alone: the page that ends there',
      { before: CURSOR },
      { size: 50, from: 'end', before: POSITION },
    ],
    ['first and before', { first: 3, before: CURSOR }, { size: 3, from: 'start', before: POSITION }],
    [
      'after and before',
      { after: CURSOR, before: CURSOR },
      { from: 'start', after: POSITION, before: POSITION },
    ],
  ])('may be %s', (_what, given, expected) => {
    expect(parsePage('change', given)).toMatchObject(expected)
  })

  it.each([
    ['first of 0', { first: 0 }, 'INVALID_PAGE_SIZE'],
    ['first of 501', { first: 501 }, 'INVALID_PAGE_SIZE'],
    ['a negative last', { last: -1 }, 'INVALID_PAGE_SIZE'],
    ['last of 501', { last: 501 }, 'INVALID_PAGE_SIZE'],
    ['first and last', { first: 1, last: 1 }, 'INVALID_PAGE_SIZE'],
    ['an after that is no cursor', { after: 'x' }, 'INVALID_CURSOR'],
    ['a before that is no cursor', { before: '' }, 'INVALID_CURSOR'],
  ] as const)('may not be %s', (_what, given, code) => {
    expect(() => parsePage('change', given)).toThrow(failure(code))
  })
})

describe('a page', () => {
  const rows = Array.from({ length: 7 }, (_, index) => ({ id: index }))
  const cursor = (id: number) => formatCursor('change', { at: NOW, tie: String(id) })

  /** What a database would answer to `request`: one row more than the page, from the page's own end. */
  function fetch({ size, from, after, before }: PageRequest): Page<{ id: number }> {
    const found = rows.filter(
      ({ id }) => (after === null || id > Number(after.tie)) && (before === null || id < Number(before.tie)),
    )
    return toPage((from === 'start' ? found : found.toReversed()).slice(0, size + 1), {
      size,
      from,
      after,
      before,
    })
  }

  it.each([3, 1, 7, 500])('after page leads through the whole list forwards, %i rows at a time', (first) => {
    const seen: number[] = []
    let after: string | null = null
    let page: Page<{ id: number }>
    do {
      page = fetch(parsePage('change', { first, after }))
      expect(page.hasPreviousPage).toBe(after !== null)
      seen.push(...page.rows.map(({ id }) => id))
      after = cursor(seen.at(-1) ?? 0)
    } while (page.hasNextPage)

    expect(seen).toEqual([0, 1, 2, 3, 4, 5, 6])
  })

  it.each([3, 1, 7, 500])('after page leads through the whole list backwards, %i rows at a time', (last) => {
    const seen: number[] = []
    let before: string | null = null
    let page: Page<{ id: number }>
    do {
      page = fetch(parsePage('change', { last, before }))
      expect(page.hasNextPage).toBe(before !== null)
      seen.unshift(...page.rows.map(({ id }) => id))
      before = cursor(seen[0] ?? 0)
    } while (page.hasPreviousPage)

    expect(seen).toEqual([0, 1, 2, 3, 4, 5, 6])
  })

  it('that ends before a cursor has a next page, and one that begins after a cursor has a previous one', () => {
    expect(fetch(parsePage('change', { first: 9, before: cursor(3) }))).toEqual({
      rows: [{ id: 0 }, { id: 1 }, { id: 2 }],
      hasNextPage: true,
      hasPreviousPage: false,
    })
    expect(fetch(parsePage('change', { last: 9, after: cursor(3) }))).toEqual({
      rows: [{ id: 4 }, { id: 5 }, { id: 6 }],
      hasNextPage: false,
      hasPreviousPage: true,
    })
  })

  it('has its rows in list order, in both directions', () => {
    expect(fetch(parsePage('change', { last: 3 })).rows).toEqual([{ id: 4 }, { id: 5 }, { id: 6 }])
    expect(fetch(parsePage('change', { last: 2, before: cursor(3) })).rows).toEqual([{ id: 1 }, { id: 2 }])
  })
})
