import { createCipheriv, createHmac } from 'node:crypto'
import { inspect } from 'node:util'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Fernet, FernetError, generateFernetKey } from '../../src/lib/fernet.ts'

/** The example of the public specification, github.com/fernet/spec: `generate.json` and `verify.json`. */
const SPEC = {
  key: 'cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=',
  now: new Date(499_162_800_000),
  iv: bytes(0, 16),
  text: 'hello',
  token:
    'gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA==',
}

/** A record as Gafaelfawr writes it, encrypted by Python's cryptography. */
const GAFAELFAWR = {
  key: 'AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=',
  now: new Date(1_767_225_600_000),
  iv: bytes(100, 16),
  text: '{"username":"wren","name":"Wren Okafor","email":null,"uid":70431,"gid":null,"groups":[{"name":"g_pipeline","id":81205},{"name":"wren","id":70431}],"token_type":"internal","service":"image-cutouts","scopes":["exec:portal","read:image"],"created":1767225600,"expires":1767312000,"token":{"key":"q1w2e3r4t5y6u7i8o9p0aQ","secret":"Zx-9_Yw8Vu7Ts6Rq5Po4Ng"}}',
  token:
    'gAAAAABpVbkAZGVmZ2hpamtsbW5vcHFyc1kJdtFdynCqSxNpPttIop16vvEpKC0Vj4zAoh_V3Xhhpi91qtCg2jBOJJSxq8qFeIsoYQQuPUVJZV8PxdpJO-PLhF3u29eZSxTq5FuoLopdUQ9sxvTy4u11QalTB0oUoYSw4dhDKbcFg7eBUByJuPswfSqfrTGsLZ03CHDcdR8w-TFiZf35sja5lMncJXfCuQoWNCCLL0XFQWO36wtrNZuJDG1rX91V3c3mHbzchZd7Tzj_2uFFB-tkotio727ChLDa6qcmff9UeR_EjfJccfvuinSVVEWDotg_rbEcLOZJqIMlR8v6CpiUoIc5zVl4Qun4oBhhkfd7yn2MLDhjQsGZ0N4DZ3r0MiJRLEjFTvPc06qwn6UO3n1ZAHOmq2_BFhD5CXdxaWo6kEciemPZfSLT4gu83_eqG4Smm3psYg8Ug5dfvRHFkyGGO6MQGVGTnr1h9Ev9iD0HvqqiKe_pGOB0C5h2k81GnzZmTUhnZn8_tXUIccETn_o3YTej2w64wZ0txEOg4EiJmE-H9Xwyp48=',
}

const spec = new Fernet([SPEC.key])
const NOW = new Date('2026-01-01T00:00:00Z')

function bytes(first: number, count: number): Buffer {
  return Buffer.from(Array.from({ length: count }, (_, index) => first + index))
}

const encode = (data: Buffer): string => data.toString('base64').replaceAll('+', '-').replaceAll('/', '_')

/** The token that the specification's key signs over these parts, whatever is wrong with them. */
function forge({ version = 0x80, iv = SPEC.iv, ciphertext = encrypt(withPadding('hello')) }): string {
  const head = Buffer.concat([Buffer.from([version]), Buffer.alloc(8, 1), iv, ciphertext])
  const signing = Buffer.from(SPEC.key, 'base64url').subarray(0, 16)
  return encode(Buffer.concat([head, createHmac('sha256', signing).update(head).digest()]))
}

/** Whole blocks, encrypted with the specification's key and IV as they are. */
function encrypt(blocks: Buffer): Buffer {
  const encryption = Buffer.from(SPEC.key, 'base64url').subarray(16)
  const cipher = createCipheriv('aes-128-cbc', encryption, SPEC.iv).setAutoPadding(false)
  return Buffer.concat([cipher.update(blocks), cipher.final()])
}

const withPadding = (text: string, last = 16 - text.length): Buffer =>
  Buffer.concat([Buffer.from(text), Buffer.alloc(16 - text.length, last)])

describe('known answers', () => {
  it.each([
    ['the public specification', SPEC],
    ['Gafaelfawr', GAFAELFAWR],
  ])('of %s are encrypted to the byte and decrypted', (_whose, { key, now, iv, text, token }) => {
    const fernet = new Fernet([key])

    expect(fernet.encrypt(text, { now, iv })).toBe(token)
    expect(fernet.decrypt(token)).toBe(text)
  })
})

describe('a token is refused', () => {
  const { token } = SPEC

  // The first seven are the cases of the specification's `invalid.json`.
  it.each([
    [
      'with an incorrect MAC',
      'gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAl1-szkFVzXTuGb4hR8AKtwcaX1YdykQUFBQUFBQUFBQQ==',
      'not signed with any of the keys',
    ],
    ['that is too short', 'gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPA==', 'too short'],
    [
      'in invalid base64',
      '%%%%%%%%%%%%%AECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAl1-szkFVzXTuGb4hR8AKtwcaX1YdykRtfsH-p1YsUD2Q==',
      'not URL-safe base64',
    ],
    [
      'whose payload is not whole blocks',
      'gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPOm73QeoCk9uGib28Xe5vz6oxq5nmxbx_v7mrfyudzUm',
      'too short',
    ],
    [
      'whose payload has bad padding',
      'gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0ODz4LEpdELGQAad7aNEHbf-JkLPIpuiYRLQ3RtXatOYREu2FWke6CnJNYIbkuKNqOhw==',
      'bad padding',
    ],
    [
      'whose IV is incorrect, which spoils the padding',
      'gAAAAAAdwJ6xBQECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAkLhFLHpGtDBRLRTZeUfWgHSv49TF2AUEZ1TIvcZjK1zQ==',
      'bad padding',
    ],
    ['of another version', forge({ version: 0x81 }), 'unknown version'],
    ['of version zero', forge({ version: 0 }), 'unknown version'],
    ['with padding of 0', forge({ ciphertext: encrypt(withPadding('hello', 0)) }), 'bad padding'],
    ['with padding longer than a block', forge({ ciphertext: encrypt(withPadding('', 17)) }), 'bad padding'],
    [
      'with unequal padding',
      forge({ ciphertext: encrypt(Buffer.concat([bytes(1, 14), Buffer.from([3, 2])])) }),
      'bad padding',
    ],
    ['without ciphertext', forge({ ciphertext: Buffer.alloc(0) }), 'too short'],
    [
      'with part of a block',
      forge({ ciphertext: Buffer.alloc(31) }),
      'ciphertext is not a multiple of the block size',
    ],
    ['that is empty', '', 'too short'],
    ['without its padding characters', token.slice(0, -2), 'not URL-safe base64'],
    ['with padding characters inside', `${token.slice(0, 8)}=${token.slice(9)}`, 'not URL-safe base64'],
    ['with a line feed behind it', `${token}\n`, 'not URL-safe base64'],
    ['with white space before it', `    ${token}`, 'not URL-safe base64'],
    ['in the other base64 alphabet', token.replaceAll('_', '/').replaceAll('-', '+'), 'not URL-safe base64'],
    [
      'signed by another key',
      new Fernet([GAFAELFAWR.key]).encrypt('hello', { now: NOW }),
      'not signed with any of the keys',
    ],
  ])('%s', (_what, invalid, reason) => {
    expect(() => spec.decrypt(invalid)).toThrow(FernetError)
    expect(() => spec.decrypt(invalid)).toThrow(expect.objectContaining({ message: reason }))
  })

  it('when any one of its bits is flipped', () => {
    const encrypted = Buffer.from(token, 'base64url')
    for (let bit = 0; bit < encrypted.length * 8; bit++) {
      const flipped = Buffer.from(encrypted)
      flipped.writeUInt8(flipped.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3)
      expect(() => spec.decrypt(encode(flipped)), `bit ${bit}`).toThrow(FernetError)
    }
  })

  it('with any text that is no token', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.string(), fc.base64String(), fc.stringMatching(/^gAAAAA[\w-]{94}==$/)),
        (text) => {
          expect(() => spec.decrypt(text)).toThrow(FernetError)
        },
      ),
    )
  })

  it('without a word of what it holds', () => {
    const padless = forge({ ciphertext: encrypt(Buffer.from('sixteen secrets!')) })
    const message = inspect(catchError(() => spec.decrypt(padless)))

    expect(message).toContain('bad padding')
    expect(message).not.toContain('secrets')
    expect(message).not.toContain(padless)
  })
})

describe('a token of any age is opened', () => {
  // The first two are the specification's, which lets a reader refuse them: here nothing ends by its age.
  it.each([
    [
      'past its time to live',
      'gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAl1-szkFVzXTuGb4hR8AKtwcaX1YdykRtfsH-p1YsUD2Q==',
      '',
    ],
    [
      'from the future',
      'gAAAAAAdwStRAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAnja1xKYyhd-Y6mSkTOyTGJmw2Xc2a6kBd-iX9b_qXQcw==',
      '',
    ],
    ['of 1970', spec.encrypt('hello', { now: new Date(0) }), 'hello'],
    ['of the year 9999', spec.encrypt('hello', { now: new Date('9999-12-31T23:59:59Z') }), 'hello'],
  ])('%s', (_what, token, text) => {
    expect(spec.decrypt(token)).toBe(text)
  })
})

describe('encryption', () => {
  const keys = fc.uniqueArray(
    fc.uint8Array({ minLength: 32, maxLength: 32 }).map((key) => encode(Buffer.from(key))),
    {
      minLength: 1,
      maxLength: 4,
    },
  )

  it('is undone by opening, for any text and any keys', () => {
    fc.assert(
      fc.property(keys, fc.string({ unit: 'binary' }), (list, text) => {
        const fernet = new Fernet(list)
        expect(fernet.decrypt(fernet.encrypt(text, { now: NOW }))).toBe(text)
      }),
    )
  })

  it('uses the first key, while each of the list opens', () => {
    fc.assert(
      fc.property(keys, fc.string(), (list, text) => {
        const [first = '', ...others] = list
        const encrypted = new Fernet(list).encrypt(text, { now: NOW })

        expect(new Fernet([first]).decrypt(encrypted)).toBe(text)
        if (others.length > 0) expect(() => new Fernet(others).decrypt(encrypted)).toThrow(FernetError)
        for (const key of list) {
          expect(new Fernet(list).decrypt(new Fernet([key]).encrypt(text, { now: NOW }))).toBe(text)
        }
      }),
    )
  })

  it('never answers twice with the same token', () => {
    const answers = Array.from({ length: 50 }, () => spec.encrypt('hello', { now: NOW }))

    expect(new Set(answers).size).toBe(50)
  })

  it('writes padded URL-safe base64 with the time in whole seconds', () => {
    for (let length = 0; length < 64; length++) {
      const token = spec.encrypt('x'.repeat(length), { now: new Date('2026-01-01T00:00:00.999Z') })

      expect(token).toMatch(/^[\w-]+={0,2}$/)
      expect(token.length % 4).toBe(0)
      expect(Buffer.from(token, 'base64url').readBigUInt64BE(1)).toBe(1_767_225_600n)
    }
  })
})

describe('a list of keys is refused', () => {
  const { key } = SPEC

  it.each([
    ['that is empty', []],
    ['with an empty key', [key, '']],
    ['with a key of 31 bytes', [encode(Buffer.alloc(31))]],
    ['with a key of 33 bytes', [encode(Buffer.alloc(33))]],
    ['with a key without padding', [key.slice(0, -1)]],
    ['with a key in the other alphabet', [key.replace('_', '/')]],
    ['with white space around a key', [` ${key}`]],
    ['with a second key that is not valid', [key, 'not-a-key']],
  ])('%s', (_what, keys) => {
    expect(() => new Fernet(keys)).toThrow(FernetError)
  })

  it('without a word of what the keys are', () => {
    const broken = key.slice(0, -1)

    expect(inspect(catchError(() => new Fernet([broken])))).not.toContain(broken)
  })
})

describe('a generated key', () => {
  it('is 32 bytes in padded URL-safe base64, different each time, and valid for encryption', () => {
    const keys = Array.from({ length: 50 }, generateFernetKey)

    expect(new Set(keys).size).toBe(50)
    for (const key of keys) {
      expect(key).toMatch(/^[\w-]{43}=$/)
      const fernet = new Fernet([key])
      expect(fernet.decrypt(fernet.encrypt('hello', { now: NOW }))).toBe('hello')
    }
  })
})

it('a Fernet does not print its keys', () => {
  expect(inspect(spec, { depth: 5, showHidden: true }) + JSON.stringify(spec)).not.toContain(SPEC.key)
})

function catchError(work: () => unknown): unknown {
  try {
    return work()
  } catch (error) {
    return error
  }
}
