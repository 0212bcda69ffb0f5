import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { boundLine, MAX_LINE_BYTES } from '../../src/lib/log-line.ts'
import { createLogger } from '../../src/lib/logger.ts'

const COMMON = { level: 30, time: '2026-11-27T00:00:00.000Z', msg: 'operation' }

describe('a line of the log', () => {
  it('of 4,096 bytes stays as it is, and of one more is cut', () => {
    const lineOf = (bytes: number) => {
      const empty = `${JSON.stringify({ ...COMMON, name: '' })}\n`
      return `${JSON.stringify({ ...COMMON, name: 'x'.repeat(bytes - empty.length) })}\n`
    }
    expect(boundLine(lineOf(MAX_LINE_BYTES))).toBe(lineOf(MAX_LINE_BYTES))
    expect(JSON.parse(boundLine(lineOf(MAX_LINE_BYTES + 1)))).toEqual({
      ...COMMON,
      name: `${'x'.repeat(1_000)}…`,
      isCut: true,
    })
  })

  it('has at most 4,096 bytes, is JSON, and keeps its level, time and message, whatever is logged', () => {
    fc.assert(
      fc.property(fc.object({ maxDepth: 3 }), fc.integer({ min: 0, max: 5_000 }), (facts, length) => {
        const lines: string[] = []
        const log = createLogger('info', { write: (line: string) => void lines.push(line) })
        log.info({ facts, long: '🦉'.repeat(length), list: Array(length).fill('owl') }, 'operation')
        const [line = ''] = lines
        expect(lines).toHaveLength(1)
        expect(Buffer.byteLength(line)).toBeLessThanOrEqual(MAX_LINE_BYTES)
        expect(line.endsWith('}\n')).toBe(true)
        expect(JSON.parse(line)).toMatchObject({ level: 30, time: expect.any(String), msg: 'operation' })
      }),
      { numRuns: 100 },
    )
  })
})
