import { describe, expect, it } from 'vitest'
import { UnavailableError } from '../../../src/domain/errors.ts'
import { NO_USER_INFO, type TokenData, type TokenKey, type UserInfo } from '../../../src/domain/token.ts'
import { IP, LIFE, SHORT_LIVED } from '../../support/porthor/parent-token.ts'
import { openPorthor } from '../../support/porthor/porthor.ts'
import { notingPuts } from '../../support/porthor/token-store.ts'
import { usePorthor } from '../../support/porthor/use-porthor.ts'

/** A `timestamp` as PostgreSQL's JSON functions print it. */
const jsonTime = (date: Date): string => date.toISOString().slice(0, 19)

const USER_INFO: UserInfo = {
  name: 'Wren Okafor',
  email: 'wren@example.org',
  uid: 70431,
  gid: 70432,
  groups: [
    { name: 'wren', id: 70431 },
    { name: 'g_pipeline', id: 81205 },
  ],
}

describe.each(['redis', 'postgres'] as const)('a token that the token cache issues over %s', (store) => {
  const t = usePorthor(store, { ...SHORT_LIVED, TOKEN_LIFETIME: '30d' })

  const both = [
    ['internal', (parent: TokenData) => t.cache.getInternalToken(parent, 'tap', ['read:all'], IP)],
    ['notebook', (parent: TokenData) => t.cache.getNotebookToken(parent, IP)],
  ] as const

  /** Every row about the children of `parent`, as JSON. */
  const rowsOf = async (parent: TokenData) => {
    const ask = async (sql: string) =>
      (await t.h.sql<{ row: object }>(sql, [parent.token.key])).map(({ row }) => row)
    return {
      tokens: await ask(
        'SELECT to_jsonb(t) AS row FROM token t JOIN subtoken ON child = t.token WHERE parent = $1',
      ),
      lineage: await ask('SELECT to_jsonb(s) AS row FROM subtoken s WHERE parent = $1'),
      history: await ask('SELECT to_jsonb(h) AS row FROM token_change_history h WHERE parent = $1'),
    }
  }

  /** Makes every commit that creates a token of `username` fail, but only at its end. */
  const refuseCommits = (username: string) =>
    t.alter(
      `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
       BEGIN IF NEW.username = '${username}' THEN RAISE 'refused'; END IF; RETURN NULL; END $$;
       CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON token DEFERRABLE INITIALLY DEFERRED
       FOR EACH ROW EXECUTE FUNCTION refuse()`,
      'DROP FUNCTION refuse CASCADE',
    )

  it.each(['Wren', '<bootstrap>', 'a'])(
    'is refused for a parent of the user %s, which is not a username',
    async (username) => {
      const made = await t.parent()
      const parent = { ...made, username }
      await t.tokens.put(parent)
      await t.h.sql('UPDATE token SET username = $1 WHERE token = $2', [username, parent.token.key])
      for (const [, ask] of both)
        await expect(ask(parent)).rejects.toMatchObject({ code: 'PERMISSION_DENIED' })
      expect(await t.children(parent)).toEqual([])
    },
  )

  describe('rule 4: a new token has the delegated lifetime, expires no later than its parent, and has its user information:', () => {
    it.each([
      ['the delegated lifetime, where the parent expires later', LIFE + 1, LIFE],
      ['the delegated lifetime, where the parent never expires', null, LIFE],
      ['the lifetime of its parent, where that expires sooner', LIFE - 1, LIFE - 1],
      ['the lifetime of its parent, where that is the shortest allowed', 300, 300],
    ])('it expires after %s', async (_what, endsIn, seconds) => {
      const parent = await t.parent({ endsIn })
      for (const [, ask] of both) {
        const { data } = await ask(parent)
        expect(data.expiresAt.getTime() - data.createdAt.getTime()).toBe(seconds * 1000)
        expect(data.createdAt).toEqual(t.clock.now())
      }
    })

    it.each([
      ['all that is recorded', USER_INFO],
      ['nothing, where nothing is recorded', NO_USER_INFO],
      ['that there are no groups', { ...NO_USER_INFO, groups: [] }],
    ])("it has its parent's username and user information: %s", async (_what, userInfo) => {
      const parent = await t.parent({ userInfo })
      for (const [, ask] of both) {
        const { data } = await ask(parent)
        expect(data).toMatchObject({ username: parent.username, userInfo })
        expect(await t.tokens.find(data.token.key)).toEqual(data)
      }
    })

    it('it is internal, with the requested service and scopes, or notebook, with all scopes that can be delegated', async () => {
      const parent = await t.parent({ scopes: ['admin:token', 'read:tap', 'read:all'] })
      const lent = await t.cache.getInternalToken(parent, 'tap', ['read:tap', 'read:all'], IP)
      expect(lent.data).toMatchObject({ type: 'internal', service: 'tap', scopes: ['read:all', 'read:tap'] })
      const own = await t.cache.getNotebookToken(parent, IP)
      expect(own.data).toMatchObject({ type: 'notebook', scopes: ['read:all', 'read:tap'] })
      expect(own.data).not.toHaveProperty('service')
    })

    it('its scopes are a subset of its parent, at any depth', async () => {
      const session = await t.parent({ endsIn: LIFE + 600 })
      const child = (await t.cache.getInternalToken(session, 'portal', ['read:all'], IP)).data
      t.clock.advance(600)
      const grandchild = (await t.cache.getInternalToken(child, 'tap', [], IP)).data
      expect(grandchild).toMatchObject({ service: 'tap', scopes: [], expiresAt: child.expiresAt })
      const own = (await t.cache.getNotebookToken(child, IP)).data
      expect(own).toMatchObject({ type: 'notebook', scopes: ['read:all'], expiresAt: child.expiresAt })
      await expect(t.cache.getInternalToken(child, 'tap', ['read:tap'], IP)).rejects.toMatchObject({
        code: 'INVALID_SCOPES',
      })
    })

    it('its times are whole seconds, in both stores', async () => {
      const parent = await t.parent()
      t.clock.advance(0.987)
      const { data } = await t.cache.getInternalToken(parent, 'tap', [], IP)
      t.clock.advance(-0.987)
      expect(data.createdAt).toEqual(t.clock.now())
      expect((await t.tokens.find(data.token.key))?.createdAt).toEqual(t.clock.now())
      const [row] = await t.h.sql(
        `SELECT bool_and(extract(microseconds FROM at) % 1000000 = 0) AS whole
         FROM token JOIN token_change_history h USING (token), unnest(ARRAY[created, token.expires, h.expires, event_time]) at
         WHERE token = $1`,
        [data.token.key],
      )
      expect(row).toEqual({ whole: true })
    })
  })

  describe('is refused before anything is read:', () => {
    const internal = (service: string, scopes: string[] = [], minimumLifetime?: number) => ({
      service,
      scopes,
      minimumLifetime,
    })
    it.each([
      ['a service without a name', internal(''), 'INVALID_SERVICE'],
      ['a service of 65 characters', internal('s'.repeat(65)), 'INVALID_SERVICE'],
      ['a service with a blank', internal('t ap'), 'INVALID_SERVICE'],
      ['an unknown scope', internal('tap', ['read:mind']), 'INVALID_SCOPES'],
      ['a scope that the parent lacks', internal('tap', ['exec:notebook']), 'INVALID_SCOPES'],
      ['a minimum lifetime under 300 s', internal('tap', [], 299), 'INVALID_MINIMUM_LIFETIME'],
      ['a negative minimum lifetime', internal('tap', [], -1), 'INVALID_MINIMUM_LIFETIME'],
      ['a minimum lifetime over the limit', internal('tap', [], LIFE - 299), 'INVALID_MINIMUM_LIFETIME'],
    ])('%s', async (_what, { service, scopes, minimumLifetime }, code) => {
      // An admin hands on no more than it holds, either.
      const parent = await t.parent({ scopes: ['admin:token', 'read:all'] })
      const asked = t.cache.getInternalToken(parent, service, scopes, IP, { minimumLifetime })
      await expect(asked).rejects.toMatchObject({ code })
      expect(await t.children(parent)).toEqual([])
    })

    it.each([
      ['in 299 s', 299, undefined],
      ['before the minimum lifetime', 600, 601],
      ['in the past', -1, undefined],
    ])('a parent that expires %s', async (_what, endsIn, minimumLifetime) => {
      const parent = await t.parent({ endsIn: 600 })
      t.clock.advance(600 - endsIn)
      for (const asked of [
        t.cache.getInternalToken(parent, 'tap', [], IP, { minimumLifetime }),
        t.cache.getNotebookToken(parent, IP, { minimumLifetime }),
      ]) {
        await expect(asked).rejects.toMatchObject({ code: 'INSUFFICIENT_LIFETIME' })
      }
    })

    it('a scope that the parent has lost, though a child with it is still live', async () => {
      const parent = await t.parent()
      await t.cache.getInternalToken(parent, 'tap', ['read:all'], IP)
      const edited = await t.edit(parent, { scopes: ['read:tap'] })
      for (const cache of [t.cache, t.anotherProcess()]) {
        await expect(cache.getInternalToken(edited, 'tap', ['read:all'], IP)).rejects.toMatchObject({
          code: 'INVALID_SCOPES',
        })
      }
    })

    it('a scope that is no longer known stays in a notebook token, and prevents nothing else', async () => {
      const parent = await t.parent()
      const known = { 'admin:token': '', 'user:token': '', 'read:all': '' }
      const cache = t.anotherProcess({ KNOWN_SCOPES: JSON.stringify(known) })
      expect((await cache.getNotebookToken(parent, IP)).data.scopes).toEqual(parent.scopes)
      expect((await cache.getInternalToken(parent, 'tap', ['read:all'], IP)).source).toBe('new')
      await expect(cache.getInternalToken(parent, 'tap', ['read:tap'], IP)).rejects.toMatchObject({
        code: 'INVALID_SCOPES',
      })
    })
  })

  describe('rule 5: every creation writes row, lineage and history event in one transaction, and the record before the commit:', () => {
    it.each([
      ['internal', 'tap', 'read:all'],
      ['notebook', null, 'read:all,read:tap'],
    ] as const)('one of each is written: %s', async (type, service, scopes) => {
      const parent = await t.parent()
      const { data } = await (type === 'internal'
        ? t.cache.getInternalToken(parent, 'tap', ['read:all'], IP)
        : t.cache.getNotebookToken(parent, IP))
      const facts = {
        token: data.token.key,
        username: parent.username,
        token_type: type,
        token_name: null,
        scopes,
        service,
        expires: jsonTime(data.expiresAt),
      }
      expect(await rowsOf(parent)).toEqual({
        tokens: [{ ...facts, created: jsonTime(data.createdAt), last_used: null }],
        lineage: [{ child: data.token.key, parent: parent.token.key }],
        history: [
          {
            ...facts,
            id: expect.any(Number),
            parent: parent.token.key,
            actor: parent.username,
            action: 'create',
            old_token_name: null,
            old_scopes: null,
            old_expires: null,
            ip_address: IP,
            event_time: jsonTime(data.createdAt),
          },
        ],
      })
    })

    it('the history event has no address where the request has none', async () => {
      const parent = await t.parent()
      await t.cache.getNotebookToken(parent, null)
      expect((await rowsOf(parent)).history).toMatchObject([{ ip_address: null }])
    })

    it('the record is written before the commit, while others see no row', async () => {
      const parent = await t.parent()
      const seen: object[] = []
      const cache = t.processOver((tokens) => ({
        put: async (data) => {
          await tokens.put(data)
          seen.push(await t.children(parent))
        },
      }))
      const { data } = await cache.getInternalToken(parent, 'tap', [], IP)
      expect(seen).toEqual([[]])
      expect(await t.children(parent)).toEqual([data.token.key])
    })

    it('the record is deleted when the commit fails, and the next request issues another token', async () => {
      const puts: TokenKey[] = []
      const parent = await t.parent()
      const cache = t.processOver(notingPuts(puts))
      await refuseCommits(parent.username)
      for (const asked of [
        () => cache.getInternalToken(parent, 'tap', [], IP),
        () => cache.getNotebookToken(parent, IP),
      ]) {
        await expect(asked()).rejects.toThrow('refused')
      }
      expect(puts).toHaveLength(2)
      for (const key of puts) expect(await t.tokens.find(key)).toBe(undefined)
      expect(await rowsOf(parent)).toEqual({ tokens: [], lineage: [], history: [] })

      await t.h.sql('DROP TRIGGER refuse ON token')
      const { data, source } = await cache.getInternalToken(parent, 'tap', [], IP)
      expect(source).toBe('new')
      expect(await t.children(parent)).toEqual([data.token.key])
    })

    it('no row is written when the token store refuses the record', async () => {
      const parent = await t.parent()
      const fault = new UnavailableError('redis', new Error('a write was refused'))
      const cache = t.processOver(() => ({ put: () => Promise.reject(fault) }))
      await expect(cache.getInternalToken(parent, 'tap', [], IP)).rejects.toBe(fault)
      expect(await rowsOf(parent)).toEqual({ tokens: [], lineage: [], history: [] })
    })

    it('a record that the token store wrote without acknowledging it is deleted', async () => {
      const parent = await t.parent()
      const puts: TokenKey[] = []
      const cache = t.processOver((tokens) => ({
        put: async (data) => {
          await notingPuts(puts)(tokens).put(data)
          throw new UnavailableError('redis', new Error('the answer was lost'))
        },
      }))
      await expect(cache.getInternalToken(parent, 'tap', [], IP)).rejects.toMatchObject({
        code: 'UNAVAILABLE',
      })
      for (const key of puts) expect(await t.tokens.find(key)).toBe(undefined)
    })

    it('the first error is returned when the record cannot be deleted either, and both are logged', async () => {
      t.expectErrors()
      const parent = await t.parent()
      await refuseCommits(parent.username)
      const cache = t.processOver(() => ({ delete: () => Promise.reject(new Error('the second fault')) }))
      await expect(cache.getInternalToken(parent, 'tap', [], IP)).rejects.toThrow('refused')
      expect(t.errors()).toEqual(['could not delete token store records of a failed creation'])
    })

    it('a record without a row, as a crash before the commit leaves it, is never reused', async () => {
      const parent = await t.parent()
      const { data } = await t.cache.getInternalToken(parent, 'tap', [], IP)
      await t.h.sql('DELETE FROM token WHERE token = $1', [data.token.key])
      const next = await t.anotherProcess().getInternalToken(parent, 'tap', [], IP)
      expect(next.source).toBe('new')
      expect(next.data.token.key).not.toBe(data.token.key)
    })
  })

  describe('rule 6: the parent must be in the database:', () => {
    it.each(['internal', 'notebook'])(
      'from a parent that is only in the token store no %s token is issued, and an error is logged',
      async (type) => {
        t.expectErrors()
        const puts: TokenKey[] = []
        const parent = await t.parent()
        await t.h.sql('DELETE FROM token WHERE token = $1', [parent.token.key])
        const cache = t.processOver(notingPuts(puts))
        const asked =
          type === 'internal'
            ? cache.getInternalToken(parent, 'tap', [], IP)
            : cache.getNotebookToken(parent, IP)
        await expect(asked).rejects.toMatchObject({ code: 'UNAUTHENTICATED', reason: 'desynchronised' })
        expect(t.errors()).toEqual([
          'stores are desynchronised: a parent is in the token store but not in the database',
        ])
        // Not even for a moment: a flood of such requests costs no writes.
        expect(puts).toEqual([])
        const history = 'SELECT token FROM token_change_history WHERE parent = $1'
        expect(await t.h.sql(history, [parent.token.key])).toEqual([])
      },
    )

    it('a parent that is in neither store was revoked, and is not logged as desynchronised', async () => {
      const parent = await t.parent()
      await t.h.sql('DELETE FROM token WHERE token = $1', [parent.token.key])
      await t.tokens.delete([parent.token.key])
      await expect(t.cache.getInternalToken(parent, 'tap', [], IP)).rejects.toMatchObject({
        code: 'UNAUTHENTICATED',
        reason: 'unknown',
      })
    })

    it('a parent that is only in the database was revoked, and is not logged as desynchronised', async () => {
      const parent = await t.parent()
      await t.tokens.delete([parent.token.key])
      await expect(t.cache.getNotebookToken(parent, IP)).rejects.toMatchObject({ code: 'UNAUTHENTICATED' })
      expect(await t.children(parent)).toEqual([])
    })

    it('tokens are issued again when the row is back', async () => {
      t.expectErrors()
      const parent = await t.parent()
      const [kept] = await t.h.sql('DELETE FROM token t WHERE token = $1 RETURNING to_jsonb(t) AS row', [
        parent.token.key,
      ])
      await expect(t.cache.getNotebookToken(parent, IP)).rejects.toMatchObject({ code: 'UNAUTHENTICATED' })
      await t.h.sql('INSERT INTO token SELECT * FROM jsonb_populate_record(NULL::token, $1)', [kept?.row])
      expect((await t.cache.getNotebookToken(parent, IP)).source).toBe('new')
    })
  })
})

it('rule 4: the delegated lifetime is the token lifetime where none is set', async () => {
  const h = await openPorthor({ store: 'redis', env: { TOKEN_LIFETIME: '2h' } })
  try {
    const parent = await h.stored(await h.session())
    const { data } = await h.context.services.tokenCache.getInternalToken(parent, 'tap', [], null, {
      minimumLifetime: 2 * 3600 - 300,
    })
    expect(data.expiresAt).toEqual(parent.expiresAt)
    expect(data.expiresAt.getTime() - data.createdAt.getTime()).toBe(2 * 3600 * 1000)
  } finally {
    await h.close()
  }
})
