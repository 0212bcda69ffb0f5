import { expect, it } from 'vitest'
import { findLastOutput } from '../../src/embedded-postgres/cluster.ts'

it('the last words of a server are its own, whatever another one wrote to the log since', () => {
  const refused = '12:00:00.000 UTC [58] FATAL:  lock file "postmaster.pid" already exists'
  const others = Array.from({ length: 9 }, (_, index) => `12:00:00.${index} UTC [56] LOG:  line ${index}`)
  const { own, all } = findLastOutput(`${[refused, ...others].join('\n')}\n`, 58)
  expect(own).toBe(refused)
  expect(all).toBe(others.slice(-5).join(' | '))
})

it('the last words of a server that names no writer of its lines are the last of the log', () => {
  expect(findLastOutput('postgres: could not open the file\n', 58).own).toBe(
    'postgres: could not open the file',
  )
})
