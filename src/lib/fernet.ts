import { createCipheriv, createDecipheriv, createHmac, randomBytes, timingSafeEqual } from 'node:crypto'

/**
 * Fernet, authenticated encryption of small values: AES-128-CBC with PKCS#7, then HMAC-SHA256.
 *
 * Layout, all in padded URL-safe base64: version 0x80 (1 byte), seconds since 1970 (8, big endian),
 * IV (16), ciphertext (a multiple of 16), HMAC (32) over all that precedes it.
 *
 * @see https://github.com/fernet/spec/blob/master/Spec.md
 */

const VERSION = 0x80
const TIME_OFFSET = 1
const IV_OFFSET = 9
const CIPHERTEXT_OFFSET = 25
const BLOCK_BYTES = 16
const HMAC_BYTES = 32
const MIN_TOKEN_BYTES = CIPHERTEXT_OFFSET + BLOCK_BYTES + HMAC_BYTES
const KEY_BYTES = 32

/** The token cannot be decrypted. The message names the rule that it breaks, never its content. */
export class FernetError extends Error {
  override readonly name = 'FernetError'
}

/** The token was encrypted with another key, or was changed afterwards. */
export class ForeignTokenError extends FernetError {
  /** Time in the token, which is not authenticated. */
  readonly encryptedAt: Date

  constructor(encryptedAt: Date) {
    super('not signed with any of the keys')
    this.encryptedAt = encryptedAt
  }
}

interface Key {
  readonly signing: Buffer
  readonly encryption: Buffer
}

/** Inputs of `encrypt` besides the plaintext. Only tests with published vectors set `iv`. */
export interface EncryptInput {
  readonly now: Date
  readonly iv?: Buffer
}

/** A list of Fernet keys: the first encrypts, all decrypt, so that keys rotate without downtime. */
export class Fernet {
  readonly #first: Key
  readonly #keys: readonly Key[]

  /**
   * @param keys Each 32 bytes in URL-safe base64 with padding (44 characters).
   * @throws {FernetError} A key has another form, or the list is empty.
   */
  constructor(keys: readonly string[]) {
    this.#keys = keys.map(parseKey)
    const [first] = this.#keys
    if (!first) throw new FernetError('at least one key is required')
    this.#first = first
  }

  /** Encrypts UTF-8 `plaintext` with the first key. */
  encrypt(plaintext: string, { now, iv = randomBytes(BLOCK_BYTES) }: EncryptInput): string {
    const head = Buffer.alloc(IV_OFFSET)
    head.writeUInt8(VERSION, 0)
    head.writeBigUInt64BE(BigInt(Math.floor(now.getTime() / 1000)), TIME_OFFSET)
    const cipher = createCipheriv('aes-128-cbc', this.#first.encryption, iv)
    const signed = Buffer.concat([head, iv, cipher.update(plaintext, 'utf8'), cipher.final()])
    return encodePadded(Buffer.concat([signed, sign(this.#first, signed)]))
  }

  /**
   * Decrypts a token that any of the keys encrypted, whatever its age.
   *
   * @throws {FernetError} It is not a Fernet token, or was encrypted with another key.
   */
  decrypt(token: string): string {
    const bytes = decodePadded(token)
    if (bytes.length < MIN_TOKEN_BYTES) throw new FernetError('too short')
    if (bytes[0] !== VERSION) throw new FernetError('unknown version')
    const signed = bytes.subarray(0, -HMAC_BYTES)
    const ciphertext = signed.subarray(CIPHERTEXT_OFFSET)
    if (ciphertext.length % BLOCK_BYTES !== 0)
      throw new FernetError('ciphertext is not a multiple of the block size')
    const signature = bytes.subarray(-HMAC_BYTES)
    const key = this.#keys.find((candidate) => timingSafeEqual(sign(candidate, signed), signature))
    if (!key) throw new ForeignTokenError(new Date(1000 * Number(signed.readBigUInt64BE(TIME_OFFSET))))
    const decipher = createDecipheriv(
      'aes-128-cbc',
      key.encryption,
      signed.subarray(IV_OFFSET, CIPHERTEXT_OFFSET),
    )
    try {
      return Buffer.concat([decipher.update(ciphertext), decipher.final()]).toString('utf8')
    } catch {
      throw new FernetError('bad padding')
    }
  }
}

/** Returns a new random key in the form that the constructor accepts. */
export const generateFernetKey = (): string => encodePadded(randomBytes(KEY_BYTES))

const sign = (key: Key, data: Buffer): Buffer => createHmac('sha256', key.signing).update(data).digest()

function parseKey(text: string): Key {
  const bytes = decodePadded(text)
  if (bytes.length !== KEY_BYTES)
    throw new FernetError('a key must be 32 bytes in URL-safe base64 with padding')
  return { signing: bytes.subarray(0, KEY_BYTES / 2), encryption: bytes.subarray(KEY_BYTES / 2) }
}

function encodePadded(bytes: Buffer): string {
  return bytes.toString('base64').replaceAll('+', '-').replaceAll('/', '_')
}

// Buffer.from skips characters that are not base64; the specification requires an error.
function decodePadded(text: string): Buffer {
  if (text.length % 4 !== 0 || !/^[\w-]*={0,2}$/.test(text)) throw new FernetError('not URL-safe base64')
  return Buffer.from(text, 'base64url')
}
