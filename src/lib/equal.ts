import { createHash, timingSafeEqual } from 'node:crypto'

const digest = (text: string): Buffer => createHash('sha256').update(text).digest()

/** Whether two strings are the same, in a time that tells nothing about where they differ. */
export const equalInConstantTime = (left: string, right: string): boolean =>
  timingSafeEqual(digest(left), digest(right))
