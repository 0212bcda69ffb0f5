import { send } from '../support/requests/http.ts'
import { DOCUMENT_KINDS, sendDocument } from './documents.ts'

/** Prints what each kind of document costs the server at `origin`: `npx tsx test/hostile/measure.ts <origin> <token>`. */

const [origin = 'http://127.0.0.1:4000', token = ''] = process.argv.slice(2)

/** CPU time that the server has used, in milliseconds. */
async function cpuMs(): Promise<number> {
  const { body } = await send(`${origin}/metrics`)
  return Number(/^process_cpu_seconds_total (\S+)/m.exec(body)?.[1]) * 1_000
}

for (const { name, sizes, make } of DOCUMENT_KINDS) {
  for (const size of sizes) {
    const before = await cpuMs()
    const answer = await sendDocument(origin, token, 'Yoga', make(size)).catch(() => undefined)
    const used = Math.round((await cpuMs()) - before)
    const outcome = answer ? `${answer.status}, ${answer.body.length} characters` : 'no response in 10 s'
    process.stdout.write(`${String(used).padStart(6)} ms  ${name}: ${size} (${outcome})\n`)
  }
}
