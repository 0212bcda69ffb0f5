import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { listPages, PROJECT } from './pages.ts'

const LINK = /\]\(([^)\s]+)\)/g
const OTHER_SITE = /^[a-z]+:/

const withoutCode = (text: string): string => text.replace(/^```[\s\S]*?^```$/gm, '')

/** As GitHub makes it of a heading: lower case, without punctuation, spaces as hyphens. */
const anchorOf = (heading: string): string =>
  heading
    .toLowerCase()
    .replace(/[^\w\- ]/g, '')
    .replaceAll(' ', '-')

const anchorsIn = (text: string): string[] =>
  [...withoutCode(text).matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) => anchorOf(heading))

async function findFault(page: URL, link: string): Promise<string | undefined> {
  const target = new URL(link, page)
  if (!existsSync(fileURLToPath(target))) return `${link}: there is no such file`
  if (target.hash === '') return undefined
  const anchors = anchorsIn(await readFile(fileURLToPath(target), 'utf8'))
  return anchors.includes(target.hash.slice(1)) ? undefined : `${link}: there is no such heading`
}

it.each(listPages())(
  'each link of %s within the repository leads to a file, and to a heading of it',
  async (path) => {
    const page = new URL(path, PROJECT)
    const links = [...withoutCode(await readFile(page, 'utf8')).matchAll(LINK)].map(([, link = '']) => link)
    const faults = await Promise.all(
      links.filter((link) => !OTHER_SITE.test(link)).map((link) => findFault(page, link)),
    )
    expect(faults.filter(Boolean)).toEqual([])
  },
)
