import { beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { addSeconds } from '../../../src/domain/lifetime.ts'
import type { TokenData } from '../../../src/domain/token.ts'
import { Fernet, generateFernetKey } from '../../../src/lib/fernet.ts'
import { type AuditedFinding, AuditService } from '../../../src/services/maintenance/audit-service.ts'
import { ClockCheck } from '../../../src/services/maintenance/clock-check.ts'
import { EncryptionKeyCheck } from '../../../src/services/maintenance/encryption-key-check.ts'
import { AuditDatabase } from '../../../src/stores/database/audit-database.ts'
import { readClockSkew } from '../../../src/stores/database/database-clock.ts'
import { TokenDatabase } from '../../../src/stores/database/token-database.ts'
import type { TokenStore } from '../../../src/stores/token-store/token-store.ts'
import { SHORT_LIVED } from '../../support/porthor/parent-token.ts'
import { pauseRevocation } from '../../support/porthor/paused-revocation.ts'
import { usePorthor } from '../../support/porthor/use-porthor.ts'
import {
  documentOf,
  dropEntry,
  emptyStores,
  historyOf,
  jsonTime,
  keyOf,
  lend,
  makeRoot,
  makeTree,
  rowsOf,
  sealedOf,
  storedOf,
  type Tree,
  writeEntry,
} from '../../support/tokens/trees.ts'

const OPERATOR = { actor: { kind: 'operator' }, ipAddress: null } as const

async function collect(findings: AsyncIterable<AuditedFinding>): Promise<AuditedFinding[]> {
  const all: AuditedFinding[] = []
  for await (const finding of findings) all.push(finding)
  return all
}

describe.each(['redis', 'postgres'] as const)('an audit, with the token store in %s,', (store) => {
  const t = usePorthor(store)
  beforeEach(() => emptyStores(t.h))

  const run = (fix = false, deleteUnreadable = fix) =>
    collect(t.h.context.services.audit.run({ fix, deleteUnreadable }))
  /** What is found, told in short, sorted. */
  const found = async (fix = false, deleteUnreadable = fix) =>
    (await run(fix, deleteUnreadable))
      .map(({ kind, key, detail, isFixed }) => `${kind} ${key} ${detail}${isFixed ? ' (fixed)' : ''}`)
      .sort()
  const setRow = (token: TokenData, change: string) =>
    t.h.sql(`UPDATE token SET ${change} WHERE token = $1`, [keyOf(token)])
  /** Gives a token another end in both stores. */
  const endBoth = async (token: TokenData, expiresAt: Date | null) => {
    await t.h.sql('UPDATE token SET expires = $2 WHERE token = $1', [
      keyOf(token),
      expiresAt && jsonTime(expiresAt),
    ])
    await writeEntry(t.h, store, token, sealedOf(t.h, { ...token, expiresAt }))
  }
  const settle = () => t.h.clock.advance(60)

  it('of stores that agree finds nothing, with trees, expired tokens and tokens that never expire', async () => {
    await makeTree(t.h, { endsIn: 600 })
    await makeTree(t.h)
    expect(await found()).toEqual([])
    settle()
    expect(await found(true)).toEqual([])
    t.h.clock.advance(600)
    expect(await found()).toEqual([])
  })

  it('finds nothing where an expired token lost its name to another one, and left its tree behind', async () => {
    const { root } = await makeTree(t.h, { endsIn: 600, tokenName: 'laptop' })
    t.h.clock.advance(600)
    await makeRoot(t.h, { username: root.username, tokenName: 'laptop' })
    settle()
    expect(await found()).toEqual([])
  })

  interface Case {
    readonly name: string
    readonly break: (tree: Tree) => Promise<unknown>
    readonly found: (tree: Tree) => string[]
    /** What is left in an audit after the one that mends; default: nothing. */
    readonly left?: (tree: Tree) => string[]
    /** Which of the tree live on in the database and in the token store, once mended. */
    readonly rows: (keyof Tree)[]
    readonly stored: (keyof Tree)[]
  }
  const all: (keyof Tree)[] = ['root', 'child', 'notebook', 'grandchild']

  const cases: Case[] = [
    {
      name: 'malformed, with a row: the entry goes, the row ends now',
      break: ({ notebook }) => writeEntry(t.h, store, notebook, 'rubbish'),
      found: ({ notebook }) => [
        `db-only ${keyOf(notebook)} not in the token store`,
        `malformed ${keyOf(notebook)} ${RUBBISH}`,
      ],
      rows: all,
      stored: ['root', 'child', 'grandchild'],
    },
    {
      name: 'malformed, without a row: the entry goes',
      break: async ({ notebook }) => {
        await t.h.sql('DELETE FROM token WHERE token = $1', [keyOf(notebook)])
        await writeEntry(t.h, store, notebook, 'rubbish')
      },
      found: ({ notebook }) => [`malformed ${keyOf(notebook)} ${RUBBISH}`],
      rows: ['root', 'child', 'grandchild'],
      stored: ['root', 'child', 'grandchild'],
    },
    {
      name: 'db-only: the row ends now',
      break: ({ grandchild }) => dropEntry(t.h, store, grandchild),
      found: ({ grandchild }) => [`db-only ${keyOf(grandchild)} not in the token store`],
      rows: all,
      stored: ['root', 'child', 'notebook'],
    },
    {
      name: 'db-only, of a token that has lent others: they end with it',
      break: ({ root }) => dropEntry(t.h, store, root),
      found: ({ root }) => [`db-only ${keyOf(root)} not in the token store`],
      rows: ['root'],
      stored: [],
    },
    {
      name: 'db-only, of a token and of one below it: both are told, in whatever order they are found',
      break: async ({ root, child }) => {
        for (const token of [root, child]) await dropEntry(t.h, store, token)
      },
      found: ({ root, child }) =>
        [root, child].map((token) => `db-only ${keyOf(token)} not in the token store`).sort(),
      rows: ['root'],
      stored: [],
    },
    {
      name: 'redis-only: the entry goes',
      break: ({ notebook }) => t.h.sql('DELETE FROM token WHERE token = $1', [keyOf(notebook)]),
      found: ({ notebook }) => [`redis-only ${keyOf(notebook)} not in the database`],
      rows: ['root', 'child', 'grandchild'],
      stored: ['root', 'child', 'grandchild'],
    },
    {
      name: 'mismatch of what is for people to mend',
      break: ({ grandchild }) =>
        setRow(grandchild, "username = 'robin', token_type = 'notebook', created = created - interval '1 s'"),
      found: ({ grandchild }) => [`mismatch ${keyOf(grandchild)} username, type, created`],
      left: ({ grandchild }) => [`mismatch ${keyOf(grandchild)} username, type, created`],
      rows: all,
      stored: all,
    },
    {
      name: 'outlives-parent: the child expires with its parent',
      break: async ({ root, child }) => {
        await endBoth(child, addSeconds(root.expiresAt ?? root.createdAt, 1))
      },
      found: ({ root, child }) => [`outlives-parent ${keyOf(child)} parent ${keyOf(root)}`],
      rows: all,
      stored: all,
    },
    {
      name: 'outlives-parent: a child without end',
      break: ({ notebook }) => endBoth(notebook, null),
      found: ({ root, notebook }) => [`outlives-parent ${keyOf(notebook)} parent ${keyOf(root)}`],
      rows: all,
      stored: all,
    },
    {
      name: 'orphan: it ends, and what hangs on it',
      break: ({ child }) => t.h.sql('UPDATE subtoken SET parent = NULL WHERE child = $1', [keyOf(child)]),
      found: ({ child }) => [`orphan ${keyOf(child)} its parent is not in the database`],
      rows: ['root', 'notebook'],
      stored: ['root', 'notebook'],
    },
  ]
  const RUBBISH = 'not URL-safe base64'

  it.each(cases)('finds and fixes $name', async (each) => {
    const tree = await makeTree(t.h, { endsIn: 86_400 })
    settle()
    await each.break(tree)
    const { left = () => [] } = each
    const expected = each.found(tree)

    expect(await found()).toEqual(expected)
    expect(await found()).toEqual(expected)
    const mended = expected.map((finding) => (mendable(finding, tree, left) ? `${finding} (fixed)` : finding))
    expect(await found(true)).toEqual(mended)
    expect(await found()).toEqual(left(tree))
    const tokens = Object.values(tree)
    expect(Object.keys(await rowsOf(t.h, tokens)).sort()).toEqual(
      each.rows.map((name) => keyOf(tree[name])).sort(),
    )
    expect(await storedOf(t.h, store, tokens)).toEqual(each.stored.map((name) => tree[name]))
    const settled = await found(true)
    expect(settled).toEqual(left(tree))
  })

  const mendable = (finding: string, tree: Tree, left: (tree: Tree) => string[]): boolean =>
    left(tree).length === 0 || !finding.startsWith('mismatch')

  describe('where the stores disagree, only what both grant remains,', () => {
    const HOUR = 3_600
    interface Sides {
      readonly row?: { readonly scopes?: string[]; readonly endsIn?: number | null }
      readonly record?: { readonly scopes?: string[]; readonly endsIn?: number | null }
      readonly left: { readonly scopes: string[]; readonly endsIn: number | null }
    }
    const ROOT = ['exec:notebook', 'read:all', 'read:tap', 'user:token']

    it.each<[string, Sides]>([
      [
        'an admin took scopes, which came back in the record',
        { row: { scopes: ['read:all'] }, left: { scopes: ['read:all'], endsIn: 10 * HOUR } },
      ],
      [
        'the row has scopes that the record has not',
        { record: { scopes: ['read:all'] }, left: { scopes: ['read:all'], endsIn: 10 * HOUR } },
      ],
      [
        'each has some that the other has not',
        {
          row: { scopes: ['read:all', 'read:tap'] },
          record: { scopes: ['exec:notebook', 'read:all'] },
          left: { scopes: ['read:all'], endsIn: 10 * HOUR },
        },
      ],
      ['the record has none', { record: { scopes: [] }, left: { scopes: [], endsIn: 10 * HOUR } }],
      ['the row expires earlier', { row: { endsIn: HOUR }, left: { scopes: ROOT, endsIn: HOUR } }],
      ['the record expires earlier', { record: { endsIn: HOUR }, left: { scopes: ROOT, endsIn: HOUR } }],
      ['the row never expires', { row: { endsIn: null }, left: { scopes: ROOT, endsIn: 10 * HOUR } }],
      [
        'scopes and expiry, each on another side',
        {
          row: { scopes: ['read:all'] },
          record: { endsIn: HOUR },
          left: { scopes: ['read:all'], endsIn: HOUR },
        },
      ],
    ])(
      'in both stores, and in what was delegated from the token: %s',
      async (_what, { row, record, left }) => {
        const tree = await makeTree(t.h, { endsIn: 10 * HOUR, scopes: ROOT })
        const start = t.h.clock.now()
        settle()
        const reach = (side: NonNullable<Sides['row']>, token: TokenData) => ({
          scopes: side.scopes ?? token.scopes,
          expiresAt:
            side.endsIn === undefined
              ? token.expiresAt
              : side.endsIn === null
                ? null
                : addSeconds(start, side.endsIn),
        })
        const inRow = reach(row ?? {}, tree.root)
        await t.h.sql('UPDATE token SET scopes = $2, expires = $3 WHERE token = $1', [
          keyOf(tree.root),
          inRow.scopes.join(','),
          inRow.expiresAt && jsonTime(inRow.expiresAt),
        ])
        await writeEntry(
          t.h,
          store,
          tree.root,
          sealedOf(t.h, { ...tree.root, ...reach(record ?? {}, tree.root) }),
        )

        expect(await run()).toContainEqual(
          expect.objectContaining({ kind: 'mismatch', key: keyOf(tree.root) }),
        )
        await run(true)
        const expiresAt = left.endsIn === null ? null : addSeconds(start, left.endsIn)
        const narrowed = Object.values(tree).map((token) => ({
          ...token,
          scopes: token.scopes.filter((scope: string) => left.scopes.includes(scope)),
          expiresAt,
        }))
        for (const token of narrowed) {
          expect(JSON.parse((await documentOf(t.h, store, token)) ?? '')).toMatchObject({
            scopes: token.scopes,
            expires: expiresAt && expiresAt.getTime() / 1_000,
          })
        }
        const rows = await rowsOf(t.h, narrowed)
        for (const token of narrowed) {
          expect(rows[keyOf(token)]).toMatchObject({
            scopes: token.scopes.join(','),
            expires: expiresAt && jsonTime(expiresAt),
          })
        }
        expect(await run()).toEqual([])
      },
    )

    it('and other differences are reported and not fixed', async () => {
      const root = await makeRoot(t.h)
      settle()
      await setRow(root, "scopes = 'read:all', username = 'robin'")
      expect(await found(true)).toEqual([`mismatch ${keyOf(root)} username, scopes`])
      expect(await found()).toEqual([`mismatch ${keyOf(root)} username`])
      expect(JSON.parse((await documentOf(t.h, store, root)) ?? '')).toMatchObject({ scopes: ['read:all'] })
    })
  })

  describe('a record that cannot be read', () => {
    it('is kept, with its row and its descendants, unless unreadable records are to be deleted', async () => {
      const tree = await makeTree(t.h, { endsIn: 86_400 })
      const stray = await makeRoot(t.h)
      const [foreign] = [await makeRoot(t.h)]
      settle()
      await t.h.sql('DELETE FROM token WHERE token = $1', [keyOf(stray)])
      await writeEntry(t.h, store, stray, 'rubbish')
      await writeEntry(t.h, store, tree.root, 'rubbish')
      const lost = new Fernet([generateFernetKey()])
      await writeEntry(t.h, store, foreign, lost.encrypt('{}', { now: addSeconds(t.h.clock.now(), -600) }))
      await makeRoot(t.h)
      const rows = await rowsOf(t.h, [...Object.values(tree), foreign])
      const before = await found()

      expect(before.filter((finding) => finding.startsWith('malformed'))).toHaveLength(3)
      expect(await found(true, false)).toEqual(before)
      expect(await rowsOf(t.h, [...Object.values(tree), foreign])).toEqual(rows)
      expect(await found()).toEqual(before)
      expect(await storedOf(t.h, store, [tree.child, tree.notebook])).toEqual([tree.child, tree.notebook])

      expect(await found(true, true)).toEqual(before.map((finding) => `${finding} (fixed)`))
      expect(await storedOf(t.h, store, [tree.child, tree.notebook])).toEqual([])
      await t.h.context.services.maintenance.run()
      expect(await found()).toEqual([])
    })
  })

  it.each<[string, (tree: Tree) => Promise<unknown>, (tree: Tree) => string]>([
    [
      'the record of a token whose parent has lost its own',
      ({ root }) => dropEntry(t.h, store, root),
      ({ root }) => `db-only ${keyOf(root)} not in the token store`,
    ],
    [
      'the record of a token below an orphan',
      ({ root }) => t.h.sql('DELETE FROM token WHERE token = $1', [keyOf(root)]),
      ({ child }) => `orphan ${keyOf(child)} its parent is not in the database`,
    ],
  ])(
    'never deletes %s if it cannot be read, unless unreadable records are to be deleted',
    async (_name, lose, finding) => {
      const tree = await makeTree(t.h, { endsIn: 86_400 })
      settle()
      await lose(tree)
      await writeEntry(t.h, store, tree.grandchild, 'rubbish')
      const tokens = Object.values(tree)
      const rows = await rowsOf(t.h, tokens)
      const before = await found()
      expect(before).toContain(finding(tree))

      const kept = await found(true, false)
      expect(kept).toContain(finding(tree))
      expect(kept).toContain(`malformed ${keyOf(tree.grandchild)} ${RUBBISH}`)
      expect(await rowsOf(t.h, [tree.child, tree.grandchild])).toEqual({
        [keyOf(tree.child)]: rows[keyOf(tree.child)],
        [keyOf(tree.grandchild)]: rows[keyOf(tree.grandchild)],
      })
      expect(await t.tokens.inspect([keyOf(tree.grandchild)])).toHaveProperty('size', 1)

      expect(await found(true, true)).toContain(`${finding(tree)} (fixed)`)
      expect(await t.tokens.inspect([keyOf(tree.grandchild)])).toHaveProperty('size', 0)
    },
  )

  it('warns long before all numbers of history events are used', async () => {
    const last = Math.floor((2 ** 31 - 1) * 0.7)
    const setLast = (value: number) => t.h.sql("SELECT setval('token_change_history_id_seq', $1)", [value])
    onTestFinished(async () => void (await setLast(1_000)))
    await setLast(last)
    expect(await run()).toEqual([])
    await setLast(last + 1)
    for (const fix of [false, true]) {
      expect(await run(fix)).toMatchObject([
        { kind: 'history-ids', key: null, isFixed: false, detail: expect.stringContaining('70 %') },
      ])
    }
  })

  it('reports each unknown scope, of rows and of records without a row, and does not fix it', async () => {
    const root = await makeRoot(t.h, { scopes: ['exec:notebook', 'read:all', 'read:tap'] })
    const stray = await makeRoot(t.h, { scopes: ['read:tap'] })
    await t.h.sql('DELETE FROM token WHERE token = $1', [keyOf(stray)])
    settle()
    await t.h.restart({
      KNOWN_SCOPES: JSON.stringify({ 'admin:token': '', 'user:token': '', 'read:all': '' }),
    })
    const unknown = [`unknown-scope ${keyOf(root)} exec:notebook`, `unknown-scope ${keyOf(root)} read:tap`]

    expect(await found()).toEqual(
      [
        ...unknown,
        `redis-only ${keyOf(stray)} not in the database`,
        `unknown-scope ${keyOf(stray)} read:tap`,
      ].sort(),
    )
    expect(await found(true)).toEqual(
      [
        ...unknown,
        `redis-only ${keyOf(stray)} not in the database (fixed)`,
        `unknown-scope ${keyOf(stray)} read:tap (fixed)`,
      ].sort(),
    )
    expect(await found(true)).toEqual(unknown)
    await t.h.restart()
    expect(await found()).toEqual([])
  })

  it('finds all kinds at once, fixes what can be fixed, and then does not find that again', async () => {
    const trees: Tree[] = []
    for (const _case of cases) trees.push(await makeTree(t.h, { endsIn: 86_400 }))
    settle()
    for (const [index, each] of cases.entries()) await each.break(trees[index] as Tree)
    const expected = cases.flatMap((each, index) => each.found(trees[index] as Tree)).sort()
    const left = cases.flatMap((each, index) => each.left?.(trees[index] as Tree) ?? []).sort()

    expect(await found()).toEqual(expected)
    const kinds = new Set(expected.map((finding) => finding.split(' ')[0]))
    expect([...kinds].sort()).toEqual([
      'db-only',
      'malformed',
      'mismatch',
      'orphan',
      'outlives-parent',
      'redis-only',
    ])
    await found(true)
    expect(await found()).toEqual(left)
    expect(await found(true)).toEqual(left)
    await t.h.context.services.maintenance.run()
    expect(await found()).toEqual(left)
  })

  it('fixes nothing while every record is encrypted with another key, until one is encrypted with its own', async () => {
    const tree = await makeTree(t.h, { endsIn: 86_400 })
    const tokens = Object.values(tree)
    settle()
    await writeEntry(t.h, store, tree.notebook, 'rubbish')
    const rows = await rowsOf(t.h, tokens)
    await t.h.restart({ SESSION_SECRET: generateFernetKey() })

    await expect(run(true)).rejects.toThrow(/^No record .* SESSION_SECRET, so nothing was fixed/)
    expect(await rowsOf(t.h, tokens)).toEqual(rows)
    expect(await storedOf(t.h, store, [tree.root, tree.child, tree.grandchild])).toHaveLength(3)
    const foreign = `malformed ${keyOf(tree.root)} not signed with any of the keys`
    expect(await found()).toContain(foreign)
    await makeRoot(t.h)
    expect(await found(true)).toContain(`${foreign} (fixed)`)
    await t.h.restart()
  })

  it('fixes nothing where several records were encrypted with another key since the last with its own', async () => {
    const old = await makeRoot(t.h)
    t.h.clock.advance(1)
    const before = t.h.env.SESSION_SECRET ?? ''
    await t.h.restart({ SESSION_SECRET: `${generateFernetKey()},${before}` })
    const fresh = [await makeRoot(t.h), await makeRoot(t.h)]
    await t.h.restart({ SESSION_SECRET: before })
    onTestFinished(() => t.h.restart())

    await expect(run(true)).rejects.toThrow(
      'The newest records of the token store were encrypted with a key that SESSION_SECRET does not have',
    )
    expect(await storedOf(t.h, store, [old])).toEqual([old])
    await dropEntry(t.h, store, fresh[0] ?? old)
    expect(await found(true)).toContain(
      `malformed ${keyOf(fresh[1] ?? old)} not signed with any of the keys (fixed)`,
    )
  })

  it('fixes records that were encrypted with another key at a time in the future', async () => {
    const own = await makeRoot(t.h)
    const stranger = new Fernet([generateFernetKey()])
    const later = new Date(t.h.clock.now().getTime() + 1_000)
    const claimed = [await makeRoot(t.h), await makeRoot(t.h)]
    for (const token of claimed) {
      await writeEntry(t.h, store, token, stranger.encrypt('{}', { now: later }))
    }
    const findings = await found(true)
    for (const token of claimed) {
      expect(findings).toContain(`malformed ${keyOf(token)} not signed with any of the keys (fixed)`)
    }
    expect(await storedOf(t.h, store, [own])).toEqual([own])
  })

  it('fixes a damaged record that is the only record', async () => {
    const root = await makeRoot(t.h)
    await writeEntry(t.h, store, root, 'rubbish')
    expect(await found(true)).toContain(`malformed ${keyOf(root)} ${RUBBISH} (fixed)`)
  })

  it('reports the username of a token, except of a damaged record without a row, and never a secret', async () => {
    const [mine, stray] = [await makeRoot(t.h), await makeRoot(t.h)]
    settle()
    await dropEntry(t.h, store, mine)
    await t.h.sql('DELETE FROM token WHERE token = $1', [keyOf(stray)])
    await writeEntry(t.h, store, stray, sealedOf(t.h, stray).slice(0, -4))
    const findings = await run()

    expect(findings.map(({ kind, username }) => [kind, username]).sort()).toEqual([
      ['db-only', mine.username],
      ['malformed', null],
    ])
    expect(JSON.stringify(findings)).not.toContain(stray.token.secret)
  })

  it('writes a history event for what it fixes: `edit` for a changed row, `revoke` for a deleted one', async () => {
    const { root, child, notebook, grandchild } = await makeTree(t.h, { endsIn: 86_400 })
    settle()
    await dropEntry(t.h, store, notebook)
    const wide = ['admin:token', ...root.scopes].join(',')
    await setRow(root, `scopes = '${wide}'`)
    await t.h.sql('UPDATE subtoken SET parent = NULL WHERE child = $1', [keyOf(child)])
    await run(true)

    const now = jsonTime(t.h.clock.now())
    const common = { actor: '<internal>', ip_address: null, event_time: now }
    expect(await historyOf(t.h, [root], 'edit')).toMatchObject([
      { ...common, scopes: root.scopes.join(','), old_scopes: wide, old_expires: null },
    ])
    expect(await historyOf(t.h, [notebook], 'edit')).toMatchObject([
      {
        ...common,
        expires: now,
        old_expires: notebook.expiresAt && jsonTime(notebook.expiresAt),
        old_scopes: null,
      },
    ])
    expect(await historyOf(t.h, [child, grandchild], 'revoke')).toMatchObject([
      { ...common, token: keyOf(grandchild), parent: keyOf(child) },
      { ...common, token: keyOf(child), parent: null },
    ])
    expect(await t.h.context.services.maintenance.run()).toMatchObject({ expired: 1 })
    expect(await rowsOf(t.h, [notebook])).toEqual({})
  })

  it('changes nothing that it is not asked to fix', async () => {
    const { root, child } = await makeTree(t.h, { endsIn: 86_400 })
    settle()
    await setRow(root, "scopes = ''")
    await t.h.sql('UPDATE subtoken SET parent = NULL WHERE child = $1', [keyOf(child)])
    const before = [
      await t.h.sql('TABLE token'),
      await t.h.sql('TABLE subtoken'),
      await t.h.sql('TABLE token_change_history'),
    ]
    await run()
    expect([
      await t.h.sql('TABLE token'),
      await t.h.sql('TABLE subtoken'),
      await t.h.sql('TABLE token_change_history'),
    ]).toEqual(before)
  })

  it('does not report a record that Redis deletes up to a second early', async () => {
    const root = await makeRoot(t.h, { endsIn: 301 })
    await dropEntry(t.h, store, root)
    expect(await found()).toHaveLength(1)
    t.h.clock.advance(300)
    expect(await found()).toEqual([])
  })

  it('does not report an expired record that waits for maintenance, unless for hours', async () => {
    const root = await makeRoot(t.h, { endsIn: 300 })
    await writeEntry(t.h, store, root, sealedOf(t.h, root))
    t.h.clock.advance(300)
    await t.h.sql('DELETE FROM token WHERE token = $1', [keyOf(root)])
    expect(await found(true)).toEqual([])
    t.h.clock.advance(2 * 60 * 60)
    expect(await found(true)).toEqual([`redis-only ${keyOf(root)} not in the database (fixed)`])
  })

  it('does not report a record that is too young for its row to have been committed', async () => {
    const root = await makeRoot(t.h)
    await t.h.sql('DELETE FROM token WHERE token = $1', [keyOf(root)])
    t.h.clock.advance(59)
    expect(await found(true)).toEqual([])
    expect(await storedOf(t.h, store, [root])).toEqual([root])
    t.h.clock.advance(1)
    expect(await found(true)).toHaveLength(1)
  })
})

describe('an audit while tokens are issued and revoked', () => {
  const t = usePorthor('redis', SHORT_LIVED)
  beforeEach(() => emptyStores(t.h))

  /** An audit in which `meanwhile` happens once: after rows or keys were read, before entries are looked at. */
  const auditWith = (meanwhile: (keys: readonly string[]) => Promise<unknown>, after = 0) => {
    const { prisma, clock, log, config } = t.h.context
    let looks = 0
    const tokens: TokenStore = {
      find: (...args) => t.tokens.find(...args),
      put: (data) => t.tokens.put(data),
      findRecord: (key) => t.tokens.findRecord(key),
      replace: (entry, data) => t.tokens.replace(entry, data),
      delete: (keys) => t.tokens.delete(keys),
      scan: () => t.tokens.scan(),
      inspect: async (keys) => {
        if (looks === after) await meanwhile(keys)
        looks += 1
        return t.tokens.inspect(keys)
      },
      sweep: () => t.tokens.sweep(),
      ping: () => t.tokens.ping(),
    }
    return new AuditService({
      tokens,
      database: new TokenDatabase(prisma),
      audit: new AuditDatabase(prisma),
      keys: new EncryptionKeyCheck({ tokens, clock, log }),
      clocks: new ClockCheck({ readSkew: () => readClockSkew(prisma), log }),
      clock,
      knownScopes: config.knownScopes,
    })
  }
  const found = (audit: AuditService, fix = true) => collect(audit.run({ fix }))

  it('does not report a token that was revoked between the two reads', async () => {
    const { root } = await makeTree(t.h)
    t.clock.advance(60)
    const audit = auditWith(() => t.h.context.services.revocation.revoke(OPERATOR, keyOf(root)))
    expect(await found(audit)).toEqual([])
    expect(await t.h.sql('SELECT FROM token')).toEqual([])
  })

  it('does not report a token that was modified between the two reads', async () => {
    const { root } = await makeTree(t.h)
    const audit = auditWith(() =>
      t.h.context.services.modification.modify(OPERATOR, keyOf(root), { scopes: [] }),
    )
    expect(await found(audit)).toEqual([])
    expect(await historyOf(t.h, [root], 'edit')).toMatchObject([
      { actor: '<internal>', old_scopes: expect.any(String) },
    ])
  })

  it('does not report a token that expired between the two reads', async () => {
    const root = await makeRoot(t.h, { endsIn: 300 })
    const audit = auditWith(async () => {
      t.clock.advance(300)
      await dropEntry(t.h, 'redis', root)
      await t.h.context.services.maintenance.run()
    })
    expect(await found(audit)).toEqual([])
  })

  it('does not report, or delete, a token whose row was committed between the two reads', async () => {
    const root = await makeRoot(t.h)
    const [row] = await t.h.sql('DELETE FROM token WHERE token = $1 RETURNING *', [keyOf(root)])
    t.clock.advance(60)
    const audit = auditWith(
      () =>
        t.h.sql('INSERT INTO token SELECT * FROM json_populate_record(NULL::token, $1)', [
          JSON.stringify(row),
        ]),
      0,
    )
    expect(await found(audit)).toEqual([])
    expect(await storedOf(t.h, 'redis', [root])).toEqual([root])
  })

  it('waits for a revocation that has reached one store only, and reports nothing', async () => {
    const root = await makeRoot(t.h)
    const goOn = await pauseRevocation(t, keyOf(root), 'records deleted')
    const auditing = found(auditWith(async () => undefined))
    await t.waiting(1)
    await goOn()
    expect(await auditing).toEqual([])
  })

  it('reports its findings as it goes, a thousand records at a time', async () => {
    await t.h.sql(
      `INSERT INTO token (token, username, token_type, scopes, created)
       SELECT 'k' || lpad(n::text, 5, '0'), 'wren', 'session', '', '2026-01-01' FROM generate_series(1, 2500) AS n`,
    )
    const told: number[] = []
    const findings = t.h.context.services.audit.run({ fix: false, onProgress: (done) => told.push(done) })
    expect(await findings.next()).toMatchObject({ value: { kind: 'db-only', key: 'k00001' } })
    expect(told).toEqual([])
    await findings.next()
    expect(await collect(findings)).toHaveLength(2_498)
    expect(told).toEqual([1_000, 2_000, 2_500])
  })

  it('fixes the same finding again, as often as it occurs', async () => {
    const child = await lend(t.h, await makeRoot(t.h), 'tap', ['read:all', 'read:tap'])
    for (const [broken, scopes] of [
      [['read:all'], ['read:all']],
      [['read:all', 'read:tap'], ['read:all']],
      [[], []],
      [['read:all'], []],
    ] as const) {
      await writeEntry(t.h, 'redis', child, sealedOf(t.h, { ...child, scopes: broken }))
      expect(await found(t.h.context.services.audit)).toMatchObject([
        { kind: 'mismatch', detail: 'scopes', isFixed: true },
      ])
      expect((await rowsOf(t.h, [child]))[keyOf(child)]).toMatchObject({ scopes: scopes.join(',') })
      expect(JSON.parse((await documentOf(t.h, 'redis', child)) ?? '')).toMatchObject({ scopes })
    }
  })
})
