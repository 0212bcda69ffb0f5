import { describe, expect, it, vi } from 'vitest'
import type { HttpAnswer } from '../support/requests/http.ts'
import { DOCUMENT_KINDS, sendDocument, WAYS } from './documents.ts'
import { useTarget } from './target.ts'

vi.setConfig({ testTimeout: 120_000, hookTimeout: 180_000 })

/** Longest response that only tells what is wrong, in characters. */
const MAX_ERROR_LENGTH = 150_000

interface GraphQLBody {
  readonly data?: object | null
  readonly errors?: readonly { readonly message: string; readonly extensions: { readonly code: string } }[]
}

const bodyOf = ({ body }: HttpAnswer): GraphQLBody => JSON.parse(body) as GraphQLBody

describe('hostile documents', () => {
  // Without suggestions and introspection there would be less to attack.
  const t = useTarget({ INTROSPECTION: 'true' })

  it.each(DOCUMENT_KINDS.map((kind) => [kind.name, kind] as const))(
    'are answered at every size, and others are served meanwhile: %s',
    async (_name, { sizes, bound, make }) => {
      const { livez, delegation } = await t.served(async () => {
        for (const size of sizes) {
          for (const way of WAYS) {
            const answer = await sendDocument(t.origin, t.session, way, make(size))
            if (!answer) continue
            const { data, errors } = bodyOf(answer)
            const where = `${size} by ${way}: ${answer.body.slice(0, 300)}`
            if (size <= bound) {
              expect([answer.status, errors], where).toEqual([200, undefined])
              continue
            }
            expect(answer.status, where).toBeLessThan(500)
            expect(errors?.length, where).toBeGreaterThan(0)
            expect(Object.values(data ?? {}), where).toEqual(data ? [null] : [])
            expect(answer.body.length, where).toBeLessThan(MAX_ERROR_LENGTH)
          }
        }
      })
      expect(livez.answered).toBe(livez.sent)
      expect(delegation.answered).toBe(delegation.sent)
    },
  )

  it('leave a server that runs, and no unexpected error in its log', async () => {
    const { livez } = await t.served(async () => undefined)
    expect(livez.answered).toBe(livez.sent)
    expect(t.server.logLines.filter(({ level }) => level >= 50)).toEqual([])
    for (const line of t.server.logLines) expect(JSON.stringify(line).length).toBeLessThanOrEqual(4_096)
  })
})
