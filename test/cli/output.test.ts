import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { escapeControls, formatTable, showProgress } from '../../src/cli/output.ts'

describe('progress', () => {
  const wasTerminal = process.stderr.isTTY
  let shown = ''

  beforeEach(() => {
    shown = ''
    vi.useFakeTimers({ toFake: ['performance'] })
    vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
      shown += String(text)
      return true
    })
  })
  afterEach(() => {
    process.stderr.isTTY = wasTerminal
    vi.useRealTimers()
    vi.restoreAllMocks()
  })

  it('on a terminal is the number of records and their rate, in one line that is cleared at the end', () => {
    process.stderr.isTTY = true
    const progress = showProgress('records')
    progress.update(10)
    vi.advanceTimersByTime(499)
    progress.update(100)
    expect(shown).toBe('')
    vi.advanceTimersByTime(1)
    progress.update(1_000)
    vi.advanceTimersByTime(100)
    progress.update(1_200)
    vi.advanceTimersByTime(900)
    progress.update(4_500)
    progress.end()

    expect(shown).toBe('\r\x1b[K1000 records, 2000/s\r\x1b[K4500 records, 3000/s\r\x1b[K')
  })

  it('is nothing where no terminal looks on', () => {
    process.stderr.isTTY = false
    const progress = showProgress('records')
    vi.advanceTimersByTime(10_000)
    progress.update(1_000)
    progress.end()
    expect(shown).toBe('')
  })
})

it('a table has columns as wide as their widest cell, and no space at the ends of its lines', () => {
  const rows = [
    ['KEY', 'NAME', 'END'],
    ['a', 'wren', '-'],
    ['longer', '', ''],
  ]
  expect(formatTable(rows)).toBe('KEY     NAME  END\na       wren  -\nlonger')
})

it('a table has no control character of its cells, and columns as wide as what stands for it', () => {
  expect(
    formatTable([
      ['a\nb', 'c'],
      ['d', 'e'],
    ]),
  ).toBe('a\\u000ab  c\nd         e')
})

it.each([
  ['an escape sequence', '\x1b[31mred', '\\u001b[31mred'],
  ['a line feed and a tab', 'a\n\tb', 'a\\u000a\\u0009b'],
  ['delete and an 8-bit control', '\x7f\x9b2J', '\\u007f\\u009b2J'],
  ['a line separator', 'a\u2028b', 'a\\u2028b'],
  ['a turn of direction', 'a\u202eb', 'a\\u202eb'],
  ['nothing to obey', 'Ünï ☃ 👩‍🔬 "q"', 'Ünï ☃ 👩‍🔬 "q"'],
])('text with %s is escaped for a terminal', (_what, text, escaped) => {
  expect(escapeControls(text)).toBe(escaped)
})
