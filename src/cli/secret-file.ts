import { chmod, mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'

/** Only its owner may read it. */
const PRIVATE = 0o600

/** The text kept in `path`; generated and written there, for its owner's eyes only, where there is none. */
export async function readOrCreateSecret(path: string, generate: () => string): Promise<string> {
  const kept = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  if (kept?.trim()) {
    await chmod(path, PRIVATE)
    return kept.trim()
  }
  const secret = generate()
  await mkdir(dirname(path), { recursive: true })
  // Renamed into place, so that a crash leaves no half of it.
  const draft = `${path}.${process.pid}`
  await writeFile(draft, `${secret}\n`, { mode: PRIVATE })
  await rename(draft, path)
  return secret
}
