import { expect, it, vi } from 'vitest'
import { lazy } from '../../src/lib/lazy.ts'

it.each([[{}], [undefined], [null], [0]])('%j is created at its first use, and once', (value) => {
  const make = vi.fn(() => value)
  const get = lazy(make)
  expect(make).not.toHaveBeenCalled()

  expect([get(), get()]).toEqual([value, value])
  expect(make).toHaveBeenCalledTimes(1)
})

it('a value that could not be created is tried again', () => {
  let isReady = false
  const get = lazy(() => {
    if (!isReady) throw new Error('not yet')
    return 'made'
  })
  expect(get).toThrow('not yet')
  isReady = true

  expect(get()).toBe('made')
})
