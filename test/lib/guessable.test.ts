import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { isGuessable } from '../../src/lib/guessable.ts'

const encode = (bytes: Iterable<number>): string => Buffer.from([...bytes]).toString('base64url')
const ofHex = (hex: string): string => Buffer.from(hex, 'hex').toString('base64url')
const times = (count: number, make: (index: number) => number): number[] =>
  Array.from({ length: count }, (_, index) => make(index))

describe('a secret is guessable', () => {
  it.each([
    ['counts up', encode(times(32, (index) => index))],
    ['counts up by threes', encode(times(32, (index) => 3 * index))],
    ['grows faster and faster', encode(times(22, (index) => (index * (index + 1)) / 2))],
    ['falls', encode(times(22, (index) => 253 - (index * (index + 1)) / 2))],
    ['counts up in several places', 'abcdefgh12345678XYZuvw'],
    ['repeats a block of bytes', encode([...Buffer.from('kX7#qT2!'), ...Buffer.from('kX7#qT2!')])],
    ['repeats a block of characters', 'aB3dE6gH9jKaB3dE6gH9jK'],
    ['repeats a block, the last time in part', 'zQ8xW1cV7zQ8xW1cV7zQ8x'],
    ['is of the keys of a keyboard', 'qwertyuiopasdfghjklzxc'],
    ['is of words', 'correct-horse-battery-'],
    ['is of capitals', 'CORRECTHORSEBATTERYSTA'],
    [
      'is the encoding of a passphrase',
      Buffer.from('My 1st secret key, for testing!!').toString('base64url'),
    ],
    [
      'is the key of AES-256 of NIST',
      ofHex('603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4'),
    ],
    ['is the key of AES-128 of NIST', ofHex('2b7e151628aed2a6abf7158809cf4f3c')],
    ['is a key of RFC 8439', ofHex('1c9240a5eb55d38af333888604f6b5f0473917c1402b80099dca5cbc207075c0')],
  ])('that %s', (_what, secret) => {
    expect(isGuessable(secret)).toBe(true)
    expect(isGuessable(`${secret}=`)).toBe(true)
  })

  it('that is the key of the fixtures of these tests, which are public', async () => {
    const file = new URL('../fixtures/gafaelfawr/fernet.key', import.meta.url)
    expect(isGuessable((await readFile(file, 'utf8')).trim())).toBe(true)
  })
})

it.each([16, 32])('a random secret of %i bytes is not guessable', (length) => {
  for (let time = 0; time < 5_000; time += 1) {
    const secret = randomBytes(length).toString('base64url')
    expect(isGuessable(secret), secret).toBe(false)
  }
})
