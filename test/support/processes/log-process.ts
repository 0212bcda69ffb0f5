// Logs a line, and when something comes in another, right before it ends.
import { once } from 'node:events'
import { createLogger } from '../../../src/lib/logger.ts'

const log = createLogger('info')
log.info('first')
await once(process.stdin, 'data')
process.stdin.destroy()
log.info('last')
