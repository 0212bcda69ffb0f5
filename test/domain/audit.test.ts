import { describe, expect, it } from 'vitest'
import { type AuditedRow, auditRow, auditStray, type StoredRecord } from '../../src/domain/audit.ts'
import { aSession, aToken, at, NOW } from '../support/tokens/token-data.ts'

const KNOWN = new Map([
  ['read:all', ''],
  ['user:token', ''],
])

const data = aSession()
const ROW: AuditedRow = {
  key: data.token.key,
  username: data.username,
  type: data.type,
  tokenName: null,
  scopes: data.scopes,
  createdAt: data.createdAt,
  expiresAt: data.expiresAt,
  isDelegated: false,
  parentKey: null,
  parentExpiresAt: null,
}

/** Kinds and details of what is found wrong, now. */
const audit = (row: Partial<AuditedRow>, entry: StoredRecord = { data }) =>
  auditRow({ ...ROW, ...row }, entry, KNOWN, NOW).map(({ kind, detail }) => `${kind}: ${detail}`)

describe('of a row and its record', () => {
  it('nothing is found wrong where they are the same', () => {
    expect(audit({})).toEqual([])
  })

  it.each<[string, Partial<AuditedRow>, string]>([
    ['username', { username: 'robin' }, 'mismatch: username'],
    ['type', { type: 'user' }, 'mismatch: type'],
    ['scopes', { scopes: ['read:all'] }, 'mismatch: scopes'],
    ['beginning', { createdAt: at(1) }, 'mismatch: created'],
    ['end', { expiresAt: at(1) }, 'mismatch: expires'],
    ['end, of which there is none', { expiresAt: null }, 'mismatch: expires'],
  ])('a difference in the %s is found', (_what, row, finding) => {
    expect(audit(row)).toEqual([finding])
  })

  it('all differences are named in one finding', () => {
    expect(audit({ username: 'robin', scopes: [] })).toEqual(['mismatch: username, scopes'])
  })

  it('a row without a record is found, unless the token has expired', () => {
    const missing = auditRow(ROW, undefined, KNOWN, NOW)
    expect(missing).toEqual([
      { kind: 'db-only', key: ROW.key, username: 'wren', detail: 'not in the token store' },
    ])
    expect(auditRow({ ...ROW, expiresAt: null }, undefined, KNOWN, NOW)).toHaveLength(1)
    expect(auditRow({ ...ROW, expiresAt: at(2) }, undefined, KNOWN, NOW)).toHaveLength(1)
    expect(auditRow({ ...ROW, expiresAt: NOW }, undefined, KNOWN, NOW)).toEqual([])
  })

  it('a row without a record is not found in its last second, when Redis may have deleted the record', () => {
    expect(auditRow({ ...ROW, expiresAt: at(1) }, undefined, KNOWN, NOW)).toEqual([])
  })

  it('a damaged record is found, and the row without a readable one too, unless the token has expired', () => {
    expect(audit({}, { fault: 'too short' })).toEqual([
      'malformed: too short',
      'db-only: not in the token store',
    ])
    expect(audit({ expiresAt: NOW }, { fault: 'too short' })).toEqual(['malformed: too short'])
  })

  it('each scope is found that the configuration does not know', () => {
    const scopes = ['a', 'b', 'read:all']

    expect(audit({ scopes }, { data: aSession({ scopes }) })).toEqual([
      'unknown-scope: a',
      'unknown-scope: b',
    ])
  })

  it.each<[string, Date | null, Date | null, boolean]>([
    ['ends with its parent', at(86_400), at(86_400), false],
    ['ends before its parent', at(86_400), at(86_401), false],
    ['ends after its parent', at(86_400), at(86_399), true],
    ['never expires, where its parent does', null, at(86_400), true],
    ['never expires, as its parent', null, null, false],
    ['ends, where its parent does not', at(86_400), null, false],
  ])('a child that %s is found or not', (_what, expiresAt, parentExpiresAt, isFound) => {
    const row = { isDelegated: true, parentKey: aToken('its-parent').key, expiresAt, parentExpiresAt }

    expect(audit(row, { data: aSession({ expiresAt }) })).toEqual(
      isFound ? [`outlives-parent: parent ${aToken('its-parent').key}`] : [],
    )
  })

  it('an orphan is found, and not a token that was not delegated', () => {
    expect(audit({ isDelegated: true })).toEqual(['orphan: its parent is not in the database'])
    expect(audit({ isDelegated: false })).toEqual([])
  })

  it('an orphan is not found when it has expired, by its row and by its record', () => {
    const row = { isDelegated: true, expiresAt: NOW }
    expect(audit(row, { data: aSession({ expiresAt: NOW }) })).toEqual([])
    expect(auditRow({ ...ROW, ...row }, undefined, KNOWN, NOW)).toEqual([])
    expect(audit(row)).toEqual(['mismatch: expires', 'orphan: its parent is not in the database'])
  })
})

describe('of a record without a row', () => {
  it('the missing row is found, and unknown scopes', () => {
    const entry = { data: aSession({ scopes: ['nope', 'read:all'] }) }

    expect(auditStray(ROW.key, entry, KNOWN)).toEqual([
      { kind: 'redis-only', key: ROW.key, username: 'wren', detail: 'not in the database' },
      { kind: 'unknown-scope', key: ROW.key, username: 'wren', detail: 'nope' },
    ])
  })

  it('its damage is found, by its key alone', () => {
    expect(auditStray(ROW.key, { fault: 'bad padding' }, KNOWN)).toEqual([
      { kind: 'malformed', key: ROW.key, username: null, detail: 'bad padding' },
    ])
  })
})
