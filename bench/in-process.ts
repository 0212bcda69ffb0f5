import { pino } from 'pino'
import type { TokenData } from '../src/domain/token.ts'

/**
 * Measures the reuse of a token through the service, without HTTP, and the memory of cached tokens. Prints JSON. Runs in
 * its own process with `--expose-gc`, on the built program: tsx slows down functions that create functions.
 */
const ROUNDS = 5
const REUSES = 1_000_000
const ENTRIES = 5_000

const built = (file: string) => import(new URL(`../dist/${file}.js`, import.meta.url).href)
const { loadConfig }: typeof import('../src/config/config.ts') = await built('config/config')
const { openApp }: typeof import('../src/app.ts') = await built('app')
const { systemClock }: typeof import('../src/lib/clock.ts') = await built('lib/clock')
const { formatToken }: typeof import('../src/domain/token.ts') = await built('domain/token')

const { services, close } = openApp(loadConfig({ ...process.env, MAX_CHILDREN: String(2 * ENTRIES) }), {
  clock: systemClock,
  log: pino({ level: 'silent' }),
})
const { tokenCache, tokens, authenticator } = services
const bootstrap = { actor: { kind: 'bootstrap' }, ipAddress: null } as const
const root = await tokens.createSession(bootstrap, { username: 'wren', scopes: ['read:all'] })
const bearer = formatToken(root.token)
const parent = await findCurrentToken()

/** Returns the current token as a request finds it, in the client-side cache. */
async function findCurrentToken(): Promise<TokenData> {
  const actor = await authenticator.authenticate(bearer)
  if (actor.kind !== 'token') throw new Error('not a token')
  return actor.data
}

const scopes = ['read:all']
const delegate = (service: string) => tokenCache.getInternalToken(parent, service, scopes, '127.0.0.1')

const heap = (): number => {
  globalThis.gc?.()
  return process.memoryUsage().heapUsed
}

await delegate('warm')
while ((await delegate('warm')).source !== 'cache') await new Promise(setImmediate)
const rates: number[] = []
for (let round = -1; round < ROUNDS; round += 1) {
  const start = systemClock.monotonicMs()
  for (let i = 0; i < REUSES; i += 1) await delegate('warm')
  if (round >= 0) rates.push((REUSES * 1000) / (systemClock.monotonicMs() - start))
}

tokenCache.clear()
const names = Array.from({ length: ENTRIES }, (_, index) => `service-${index}`)
const before = heap()
for (let start = 0; start < ENTRIES; start += 50)
  await Promise.all(names.slice(start, start + 50).map(delegate))
// Again, so that the records are in the client-side cache too.
for (const service of names) await delegate(service)
const bytesPerEntry = (heap() - before) / ENTRIES

process.stdout.write(`${JSON.stringify({ rates, bytesPerEntry })}\n`)
await close()
