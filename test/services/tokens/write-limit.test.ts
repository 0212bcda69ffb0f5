import { expect, it } from 'vitest'
import { WriteLimit } from '../../../src/services/tokens/write-limit.ts'

const tick = () => new Promise<void>((resolve) => setImmediate(resolve))

/** Starts writes that end when they are told to, and counts those that run. */
function openWrites(limit: WriteLimit) {
  const ends: (() => void)[] = []
  const write = (user: string, token: string) =>
    limit.run({ user, token }, () => new Promise<void>((resolve) => ends.push(resolve)))
  return {
    write,
    countRunning: () => ends.length,
    endAll: () => {
      for (const end of ends.splice(0)) end()
    },
  }
}

it('a user with any number of tokens runs at most eight writes at a time, and four with one token', async () => {
  const { write, countRunning, endAll } = openWrites(new WriteLimit())
  const ofOneToken = Array.from({ length: 20 }, () => write('eve', 'one'))
  await tick()
  expect(countRunning()).toBe(4)
  const ofOthers = Array.from({ length: 100 }, (_, index) => write('eve', `other ${index}`))
  await tick()
  expect(countRunning()).toBe(8)
  const all = Promise.all([...ofOneToken, ...ofOthers])
  for (let round = 0; round < 40; round += 1) {
    endAll()
    await tick()
  }
  await all
})

it('writes of another user do not wait', async () => {
  const { write, countRunning, endAll } = openWrites(new WriteLimit())
  const flood = Array.from({ length: 100 }, (_, index) => write('eve', `token ${index}`))
  await tick()
  const before = countRunning()
  const other = write('wren', 'session')
  await tick()
  expect(countRunning()).toBe(before + 1)
  const all = Promise.all([...flood, other])
  for (let round = 0; round < 40; round += 1) {
    endAll()
    await tick()
  }
  await all
})
