import { timingSafeEqual } from 'node:crypto'

/**
 * Whether two strings are the same, in a time that tells nothing about where they differ. Whether they are
 * of the same length is told: what is compared here has a known one.
 */
export function equalInConstantTime(left: string, right: string): boolean {
  const [leftBytes, rightBytes] = [Buffer.from(left), Buffer.from(right)]
  return leftBytes.length === rightBytes.length && timingSafeEqual(leftBytes, rightBytes)
}
