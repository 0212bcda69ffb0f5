import { inspect } from 'node:util'
import type { Logger } from 'pino'
import { describe, expect, it } from 'vitest'
import { createLogger } from '../../src/lib/logger.ts'
import { Secret } from '../../src/lib/secret.ts'

const VALUE = 'correct horse battery staple'

/** What a logger writes while `use` has it. */
function written(use: (log: Logger) => void): string {
  const lines: string[] = []
  use(createLogger('info', { write: (line: string) => void lines.push(line) }))
  return lines.join('')
}

describe.each([
  ['text', new Secret(VALUE)],
  ['a list', new Secret([VALUE])],
  ['an object', new Secret({ key: VALUE })],
])('a secret that holds %s', (_what, secret) => {
  it.each([
    ['JSON', () => JSON.stringify({ secret })],
    ['a template string', () => `${secret}`],
    ['joining', () => ['a', secret].join(' ')],
    ['util.inspect', () => inspect(secret)],
    [
      'util.inspect of what holds it, hidden fields and all',
      () => inspect({ a: [secret] }, { showHidden: true, depth: 9 }),
    ],
    ["a debugger's view", () => inspect(secret, { customInspect: false, showHidden: true, depth: 9 })],
    ['pino', () => written((log) => log.info({ secret }, 'started'))],
    ['pino, as the whole line', () => written((log) => log.info(secret))],
    ['pino, as an argument of the message', () => written((log) => log.info('%s %o', secret, secret))],
    ['an error', () => inspect(new Error(`cannot use ${secret}`, { cause: secret }))],
    ['its own keys', () => inspect([Object.entries(secret), Reflect.ownKeys(secret)])],
    ['a copy', () => inspect({ ...secret })],
  ])('is not shown by %s', (_how, show) => {
    expect(show()).not.toContain('horse')
  })

  it('leaves a word that shows where it is', () => {
    expect(JSON.stringify({ secret })).toBe('{"secret":"[secret]"}')
    expect(`${secret}`).toBe('[secret]')
    expect(inspect({ secret })).toBe('{ secret: [secret] }')
  })
})

it('reveal() is the way out', () => {
  expect(new Secret(VALUE).reveal()).toBe(VALUE)
})
