import { readdir, readFile } from 'node:fs/promises'
import { expect, it } from 'vitest'
import { PROJECT } from './pages.ts'

const RECIPES = new URL('examples/gateways/', PROJECT)

const read = (url: URL) => readFile(url, 'utf8')

it('the guide to gateways shows each recipe as it is in its file, which the tests run', async () => {
  const guide = await read(new URL('docs/guides/gateways.md', PROJECT))
  // What begins with `gafaelfawr` is shown by another guide.
  const names = (await readdir(RECIPES)).filter((name) => !/\.mjs$|^gafaelfawr/.test(name))
  expect(names).toEqual(expect.arrayContaining(['nginx.conf', 'Caddyfile', 'policies.json']))
  const blocks = [...guide.matchAll(/^```\w+\n([\s\S]*?)^```$/gm)].map(([, text]) => text)
  for (const name of names) expect(blocks, name).toContain(await read(new URL(name, RECIPES)))
})
