import { readFile } from 'node:fs/promises'
import { buildSchema, parse, validate } from 'graphql'
import { expect, it } from 'vitest'
import { listPages, PROJECT } from './pages.ts'

const EXAMPLE = /^```graphql\n([\s\S]*?)^```$/gm

const schema = buildSchema(await readFile(new URL('schema.graphql', PROJECT), 'utf8'))

it('each GraphQL example of the documentation is valid', async () => {
  const texts = await Promise.all(listPages().map((path) => readFile(new URL(path, PROJECT), 'utf8')))
  const examples = texts.flatMap((text) => [...text.matchAll(EXAMPLE)].map(([, example = '']) => example))
  expect(examples.length).toBeGreaterThan(0)
  const errors = examples.flatMap((example) =>
    validate(schema, parse(example)).map(({ message }) => `${message}\n${example}`),
  )
  expect(errors).toEqual([])
})
