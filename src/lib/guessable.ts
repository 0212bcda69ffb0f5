/** Minimum number of different characters, and of different steps between characters. A random secret has more. */
const MIN_DIFFERENT = 10
const MIN_STEPS = 5

// cspell:ignore Fiiu
/** Keys of published test vectors and examples, in base64url. */
const PUBLISHED: ReadonlySet<string> = new Set([
  // From the specification of Fernet, and so in the examples of its libraries.
  'cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4',
  // AES-256 and AES-128 in NIST SP 800-38A, appendix F.
  'YD3rEBXKcb4rc67whX13gR81LAc7YQjXLZgQowkU3_Q',
  'K34VFiiu0qar9xWICc9PPA',
  // ChaCha20-Poly1305 in RFC 8439, appendix A.5.
  'HJJApetV04rzM4iGBPa18Ec5F8FAK4AJncpcvCBwdcA',
  // The fixtures of tests, which are public.
  'bhpu7MjrfxW3yIchY3WD3nz6GzGnbNmTau0WKJIFUOg',
])

/** Text in one case, as of words. A random secret of 22 characters has a chance of 1 to 100 million. */
const ONE_CASE = /^(?:[a-z_-]+|[A-Z_-]+)$/

/** A key that is text itself, such as a passphrase. */
const PRINTABLE = /^[\x20-\x7e]{32,}$/

/**
 * Whether an attacker can guess a secret in base64url: it repeats few characters or a block, counts up or down as examples
 * do, is made of words, or was published. What a person drew by other means may still be guessable: nothing recognises that.
 */
export function isGuessable(secret: string): boolean {
  const text = secret.replace(/=+$/, '')
  if (PUBLISHED.has(text)) return true
  const bytes = Buffer.from(text, 'base64url')
  return (
    new Set(text).size < MIN_DIFFERENT ||
    ONE_CASE.test(text) ||
    PRINTABLE.test(bytes.toString('latin1')) ||
    [Buffer.from(text), bytes].some((each) => isRegular(each))
  )
}

/** Whether most of `bytes` follow from the ones before. */
const isRegular = (bytes: Buffer): boolean => isCounting(bytes) || isMonotonic(bytes) || isRepeating(bytes)

/** Whether the steps between the bytes are few, or most of them are equal. */
function isCounting(bytes: Buffer): boolean {
  const steps = new Map<number, number>()
  for (let index = 1; index < bytes.length; index += 1) {
    const step = ((bytes[index] ?? 0) - (bytes[index - 1] ?? 0) + 256) % 256
    steps.set(step, (steps.get(step) ?? 0) + 1)
  }
  return steps.size < MIN_STEPS || 2 * Math.max(...steps.values()) >= bytes.length - 1
}

function isMonotonic(bytes: Buffer): boolean {
  const pairs = [...bytes.subarray(1)].map((byte, index) => [bytes[index] ?? 0, byte] as const)
  return (
    pairs.every(([before, after]) => before <= after) || pairs.every(([before, after]) => before >= after)
  )
}

/** Whether a block of at most half of the length repeats until the end. */
function isRepeating(bytes: Buffer): boolean {
  for (let length = 1; 2 * length <= bytes.length; length += 1) {
    if (bytes.subarray(length).equals(bytes.subarray(0, -length))) return true
  }
  return false
}
