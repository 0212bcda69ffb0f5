/** Minimum number of different characters, and of different steps between characters. A random secret has more. */
const MIN_DIFFERENT = 10
const MIN_STEPS = 5

/** Keys of published test vectors. */
const PUBLISHED: ReadonlySet<string> = new Set([
  // From the specification of Fernet, and so in the examples of its libraries.
  'cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4',
])

/**
 * Whether an attacker can guess a secret in base64url: it repeats few characters, counts up or down as examples do, or
 * was published.
 */
export function isGuessable(secret: string): boolean {
  if (PUBLISHED.has(secret.replace(/=+$/, ''))) return true
  const bytes = Buffer.from(secret, 'base64url')
  return (
    new Set(secret).size < MIN_DIFFERENT ||
    [Buffer.from(secret), bytes].some((each) => countSteps(each) < MIN_STEPS)
  )
}

function countSteps(bytes: Buffer): number {
  const steps = new Set<number>()
  for (let index = 1; index < bytes.length; index += 1) {
    steps.add(((bytes[index] ?? 0) - (bytes[index - 1] ?? 0) + 256) % 256)
  }
  return steps.size
}
