import { describe, expect, it } from 'vitest'
import { isOneEditApart } from '../../src/lib/one-edit.ts'

describe('isOneEditApart', () => {
  it.each([
    ['a letter too many', 'PORTT', 'PORT'],
    ['a letter too few', 'REDIS_RL', 'REDIS_URL'],
    ['no separator', 'LOGLEVEL', 'LOG_LEVEL'],
    ['another letter', 'HOSY', 'HOST'],
    ['two letters swapped', 'REDIS_ULR', 'REDIS_URL'],
    ['one letter of two equal ones', 'aab', 'ab'],
    ['nothing but one letter', 'a', ''],
  ])('is true for %s, from either side', (_what, left, right) => {
    expect([isOneEditApart(left, right), isOneEditApart(right, left)]).toEqual([true, true])
  })

  it.each([
    ['equal texts', 'PORT', 'PORT'],
    ['two letters replaced', 'HOST', 'PORT'],
    ['two letters swapped that are not neighbours', 'abc', 'cba'],
    ['two letters too many', 'PORT', 'PORTAL'],
    ['nothing and two letters', '', 'ab'],
  ])('is false for %s, from either side', (_what, left, right) => {
    expect([isOneEditApart(left, right), isOneEditApart(right, left)]).toEqual([false, false])
  })
})
