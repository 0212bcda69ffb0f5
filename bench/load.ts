import { setTimeout as delay } from 'node:timers/promises'
import type { Server } from './server.ts'
import { timed } from './support.ts'

/** Clients that ask one after the other, each with a pause behind every answer, in milliseconds. */
export const CLIENTS = 4
export const PAUSE_MS = 5

const REUSE = 'mutation { internalToken(service: "tap", scopes: ["read:all"]) { token source } }'

/** Asks for a token again and again until `isOver`; answers with how long each answer took, in milliseconds. */
async function reuse(server: Server, token: string, isOver: () => boolean): Promise<number[]> {
  const latencies: number[] = []
  while (!isOver()) {
    latencies.push((await timed(() => server.ask(REUSE, token))).ms)
    await delay(PAUSE_MS)
  }
  return latencies
}

/** What everybody else's reuse costs while `work` goes on. */
export async function meanwhile<T>(server: Server, sessions: readonly string[], work: () => Promise<T>) {
  let isOver = false
  const latencies = Promise.all(sessions.map((token) => reuse(server, token, () => isOver)))
  const { ms, value } = await timed(work).finally(() => {
    isOver = true
  })
  return { ms, value, latencies: (await latencies).flat() }
}
