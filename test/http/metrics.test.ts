import { describe, expect, it } from 'vitest'
import { parseToken } from '../../src/domain/token.ts'
import { usePorthor } from '../support/porthor/use-porthor.ts'
import { send } from '../support/requests/http.ts'

const INTERNAL = 'mutation { internalToken(service: "image-cutouts") { token } }'

describe('/metrics', () => {
  const api = usePorthor('postgres')
  const scrape = async () => {
    const { headers, body } = await send(new URL('/metrics', api.h.url).href)
    expect(headers['content-type']).toMatch(/^text\/plain; version=0\.0\.4/)
    return body
  }

  it('counts operations by outcome, delegated tokens by source, and time spent', async () => {
    const token = await api.h.session()
    await api.h.ask(INTERNAL, { token })
    await api.h.ask(INTERNAL, { token })
    await api.h.ask('mutation { clearTokenCache { internal } }', { token: api.h.bootstrapToken })
    await api.h.ask(INTERNAL, { token })
    await api.h.ask('mutation { internalToken(service: "") { token } }', { token })
    await api.h.ask(INTERNAL)
    const lines = (await scrape()).split('\n')
    expect(lines).toEqual(
      expect.arrayContaining([
        'porthor_operations_total{outcome="ok"} 5',
        'porthor_operations_total{outcome="INVALID_SERVICE"} 1',
        'porthor_operations_total{outcome="UNAUTHENTICATED"} 1',
        'porthor_delegated_tokens_total{source="new"} 1',
        'porthor_delegated_tokens_total{source="cache"} 1',
        'porthor_delegated_tokens_total{source="database"} 1',
        'porthor_operation_duration_seconds_count 7',
      ]),
    )
  })

  it('has metrics of the process', async () => {
    expect(await scrape()).toMatch(/^process_resident_memory_bytes \d+$/m)
  })

  it('names no user, service or token, and does not grow with their number', async () => {
    const token = await api.h.session('wren')
    await api.h.ask(INTERNAL, { token })
    const before = await scrape()
    const other = await api.h.session('rook')
    await api.h.ask('mutation { internalToken(service: "other") { token } }', { token: other })
    const after = await scrape()
    expect(after).not.toMatch(/wren|rook|image-cutouts|other/)
    expect(after).not.toContain(parseToken(other).key)
    const series = (text: string) => text.split('\n').filter((line) => line.startsWith('porthor_')).length
    expect(series(after)).toBe(series(before))
  })
})
