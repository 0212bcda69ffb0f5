import { describe, expect, it, vi } from 'vitest'
import { openApp } from '../../src/app.ts'
import { loadConfig } from '../../src/config/config.ts'
import { usePorthor } from '../support/porthor/use-porthor.ts'
import { fieldOf } from '../support/requests/graphql.ts'

const CLEAR = 'mutation { clearTokenCache { internal notebook } }'
const INTERNAL = 'mutation ($service: String!) { internalToken(service: $service) { token source } }'
const NOTEBOOK = 'mutation { notebookToken { token source } }'

describe.each(['redis', 'postgres'] as const)('clearTokenCache over %s', (store) => {
  const api = usePorthor(store)
  const clear = (token = api.h.bootstrapToken) => api.h.ask(CLEAR, { token })

  it('returns what this process had cached; then tokens are reused from the database', async () => {
    await clear()
    const token = await api.h.session()
    const first = await api.h.ask(INTERNAL, { token, variables: { service: 'a' } })
    await api.h.ask(INTERNAL, { token, variables: { service: 'b' } })
    await api.h.ask(NOTEBOOK, { token })
    expect((await clear()).data).toEqual({ clearTokenCache: { internal: 2, notebook: 1 } })
    expect((await clear()).data).toEqual({ clearTokenCache: { internal: 0, notebook: 0 } })
    const again = await api.h.ask(INTERNAL, { token, variables: { service: 'a' } })
    expect(again.data).toEqual({
      internalToken: { ...fieldOf(first, 'internalToken'), source: 'DATABASE' },
    })
  })

  it('is for admins only', async () => {
    expect((await clear(await api.h.session('ada', ['admin:token']))).errors).toEqual([])
    expect(await clear(await api.h.session('wren', ['user:token']))).toMatchObject({
      code: 'PERMISSION_DENIED',
      status: 403,
      data: null,
    })
  })

  it('empties the caches of every process', async () => {
    const { clock, context, env } = api.h
    const other = openApp(loadConfig(env), { clock, log: context.log })
    try {
      const parent = await api.h.stored(await api.h.session())
      const source = async () => (await other.services.tokenCache.getNotebookToken(parent, null)).source
      expect(await source()).toBe('new')
      // The other process has not always subscribed yet: told again, it hears.
      await vi.waitFor(async () => {
        await clear()
        expect(await source()).toBe('database')
      })
      expect(await source()).toBe('cache')
    } finally {
      await other.close()
    }
  })
})
