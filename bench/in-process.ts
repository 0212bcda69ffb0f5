import { pino } from 'pino'
import type { TokenData } from '../src/domain/token.ts'

/**
 * Reuses a token through the service, with no HTTP; and looks what cached tokens weigh. Prints JSON. In a process of its
 * own, started with `--expose-gc`. Takes the program as it was built, since tsx slows each function down that makes another.
 */
const ROUNDS = 5
const REUSES = 1_000_000
const ENTRIES = 5_000

const built = (file: string) => import(new URL(`../dist/${file}.js`, import.meta.url).href)
const { loadConfig }: typeof import('../src/config.ts') = await built('config')
const { openProcess }: typeof import('../src/context.ts') = await built('context')
const { systemClock }: typeof import('../src/lib/clock.ts') = await built('lib/clock')
const { formatToken }: typeof import('../src/domain/token.ts') = await built('domain/token')

const { services, close } = openProcess(loadConfig(process.env), {
  clock: systemClock,
  log: pino({ level: 'silent' }),
})
const { tokenCache, tokens, authenticator } = services
const bootstrap = { actor: { kind: 'bootstrap' }, ipAddress: null } as const
const root = await tokens.createSession(bootstrap, { username: 'wren', scopes: ['read:all'] })
const bearer = formatToken(root.token)
const parent = await actingToken()

/** The acting token as a request finds it: by the copy that the process has of it. */
async function actingToken(): Promise<TokenData> {
  const actor = await authenticator.authenticate(bearer)
  if (actor.kind !== 'token') throw new Error('not a token')
  return actor.data
}

const scopes = ['read:all']
const lend = (service: string) => tokenCache.getInternalToken(parent, service, scopes, '127.0.0.1')

const heap = (): number => {
  globalThis.gc?.()
  return process.memoryUsage().heapUsed
}

await lend('warm')
while ((await lend('warm')).source !== 'cache') await new Promise(setImmediate)
const rates: number[] = []
for (let round = -1; round < ROUNDS; round += 1) {
  const start = performance.now()
  for (let i = 0; i < REUSES; i += 1) await lend('warm')
  if (round >= 0) rates.push((REUSES * 1000) / (performance.now() - start))
}

tokenCache.clear()
const names = Array.from({ length: ENTRIES }, (_, index) => `service-${index}`)
const before = heap()
for (let start = 0; start < ENTRIES; start += 50) await Promise.all(names.slice(start, start + 50).map(lend))
// Once more, so that the copies of what the token store holds are there too.
for (const service of names) await lend(service)
const bytesPerEntry = (heap() - before) / ENTRIES

process.stdout.write(`${JSON.stringify({ rates, bytesPerEntry })}\n`)
await close()
