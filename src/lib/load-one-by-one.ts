import { readFileSync } from 'node:fs'
import type { LoadHook } from 'node:module'
import { fileURLToPath } from 'node:url'

/** Hook for Node's loader: reads one module at a time, where Node would open hundreds of files at once. */
export const load: LoadHook = (url, context, nextLoad) =>
  context.format === 'module' && url.startsWith('file:')
    ? { format: 'module', source: readFileSync(fileURLToPath(url)), shortCircuit: true }
    : nextLoad(url, context)
