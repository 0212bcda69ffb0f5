import { timingSafeEqual } from 'node:crypto'

/**
 * Whether two strings are equal. The time that it takes does not reveal where they differ; it may reveal that their
 * lengths differ, so callers must compare strings of a known length.
 */
export function equalInConstantTime(left: string, right: string): boolean {
  const [leftBytes, rightBytes] = [Buffer.from(left), Buffer.from(right)]
  return leftBytes.length === rightBytes.length && timingSafeEqual(leftBytes, rightBytes)
}
