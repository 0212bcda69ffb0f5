import { expect } from 'vitest'
import type { ErrorCode } from '../../../src/domain/errors.ts'

/** Matches the `PorthorError` with `code`, and any further facts: `toThrow(failure('NOT_FOUND'))`. */
export const failure = (code: ErrorCode, facts: object = {}): unknown =>
  expect.objectContaining({ name: 'PorthorError', code, ...facts })
