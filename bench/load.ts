import { setTimeout as delay } from 'node:timers/promises'
import type { Server } from './server.ts'
import { timed } from './support.ts'

/** Number of clients, and their pause after each response, in milliseconds. */
export const CLIENTS = 4
export const PAUSE_MS = 5

const REUSE = 'mutation { internalToken(service: "tap", scopes: ["read:all"]) { token source } }'

/** Requests a token repeatedly until `isOver`. Returns the response times, in milliseconds. */
async function reuse(server: Server, token: string, isOver: () => boolean): Promise<number[]> {
  const latencies: number[] = []
  while (!isOver()) {
    latencies.push((await timed(() => server.ask(REUSE, token))).ms)
    await delay(PAUSE_MS)
  }
  return latencies
}

/** Measures the reuse of other tokens while `work` runs. */
export async function meanwhile<T>(server: Server, sessions: readonly string[], work: () => Promise<T>) {
  let isOver = false
  const latencies = Promise.all(sessions.map((token) => reuse(server, token, () => isOver)))
  const { ms, value } = await timed(work).finally(() => {
    isOver = true
  })
  return { ms, value, latencies: (await latencies).flat() }
}
