import { describe, expect, test } from 'vitest'
import { importsOf, readSources } from './sources.ts'

/** From the top down: a file may import from its own part and from those below. CONTRIBUTING shows the same list. */
const PARTS = [
  'src/main.ts',
  'src/cli/',
  'src/http/',
  'src/app.ts',
  'src/background-jobs.ts',
  'src/schema/',
  'src/services/',
  'src/stores/',
  'src/config/',
  'src/domain/',
  'src/embedded-postgres/',
  'src/lib/',
]

/** Published by itself: it shares nothing with the server but names of its API. */
const CLIENT = 'src/client/'

/** Where Prisma is used; the composition root passes it on. */
const USES_PRISMA = ['src/stores/', 'src/schema/', 'src/app.ts']

const levelOf = (path: string): number => PARTS.findIndex((part) => path.startsWith(part))

const sources = readSources('src').filter(({ path }) => !path.startsWith(CLIENT))

describe('imports', () => {
  test('every source file is in a part of the list', () => {
    expect(sources.filter(({ path }) => levelOf(path) < 0).map(({ path }) => path)).toEqual([])
  })

  test('a part imports only from itself and from the parts below it', () => {
    const upwards = sources.flatMap((source) =>
      importsOf(source)
        .filter((target) => !target.startsWith('src/generated/') && levelOf(target) < levelOf(source.path))
        .map((target) => `${source.path} imports ${target}`),
    )
    expect(upwards).toEqual([])
  })

  test('only the stores, the schema and the composition root know Prisma', () => {
    const users = sources.filter(
      (source) =>
        importsOf(source).some((target) => target.startsWith('src/generated/')) &&
        !USES_PRISMA.some((part) => source.path.startsWith(part)),
    )
    expect(users.map(({ path }) => path)).toEqual([])
  })

  test('the client imports nothing of the server but types of the domain', () => {
    const foreign = readSources(CLIENT).flatMap((source) =>
      importsOf(source)
        .filter((target) => !target.startsWith(CLIENT) && !target.startsWith('src/domain/'))
        .map((target) => `${source.path} imports ${target}`),
    )
    expect(foreign).toEqual([])
  })

  test('`lib` does not name Porthor: it is at home in any program', () => {
    const named = readSources('src/lib').filter(({ text }) => /porthor/i.test(text))
    expect(named.map(({ path }) => path)).toEqual([])
  })
})
