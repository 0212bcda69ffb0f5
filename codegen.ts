// `npm run codegen` prints the schema and makes the typed client from src/client/operations. Both are
// committed, so that a build needs none of this; a test says when they are behind.
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { codegen } from '@graphql-codegen/core'
import * as typescriptOperations from '@graphql-codegen/typescript-operations'
import {
  buildSchema,
  concatAST,
  type DocumentNode,
  type GraphQLSchema,
  getOperationAST,
  Kind,
  parse,
  print,
  printSchema,
  separateOperations,
  stripIgnoredCharacters,
} from 'graphql'
import { generateSettingsPage, SETTINGS_PAGE } from './codegen-settings.ts'
import { schema } from './src/schema/index.ts'

const OPERATIONS = new URL('src/client/operations/', import.meta.url)

/** The text of every generated file, by its path from here. Writes nothing. */
export async function generate(): Promise<Readonly<Record<string, string>>> {
  const printed = `${printSchema(schema)}\n`
  return {
    'schema.graphql': printed,
    'src/client/generated/operations.ts': await generateClient(printed),
    [SETTINGS_PAGE]: await generateSettingsPage(),
  }
}

async function generateClient(printedSchema: string): Promise<string> {
  // Read back, because the schema that is run holds our own enum values and not those that a client sees.
  const clientSchema = buildSchema(printedSchema)
  const documents = await readDocuments()
  const types = await codegen({
    filename: 'operations.ts',
    schema: parse(printedSchema),
    documents,
    config: {
      scalars: { BigInt: 'number | string', DateTime: 'string' },
      immutableTypes: true,
      arrayInputCoercion: false,
      inlineFragmentTypes: 'combine',
      printFieldsOnNewLines: true,
    },
    plugins: [{ types: {} }],
    pluginMap: { types: typescriptOperations },
  })
  const separated = separateOperations(concatAST(documents.map(({ document }) => document)))
  const methods = Object.values(separated).map((document) => methodOf(document, clientSchema))
  return `// Made by \`npm run codegen\` from the schema and ../operations. Not to be edited.

${types.trim()}

/** A method for each operation, named after the one field that it asks for, which is its answer. */
export interface Operations {
${methods.map(({ description, signature }) => `  /** ${description} */\n  ${signature}`).join('\n')}
}

/** The text of each operation. */
export const documents: Readonly<Record<keyof Operations, string>> = {
${methods.map(({ name, text }) => `  ${name}: ${JSON.stringify(text)},`).join('\n')}
}
`
}

async function readDocuments(): Promise<{ location: string; document: DocumentNode }[]> {
  const names = (await readdir(OPERATIONS)).filter((name) => name.endsWith('.graphql')).sort()
  return Promise.all(
    names.map(async (name) => ({
      location: name,
      document: parse(await readFile(new URL(name, OPERATIONS), 'utf8')),
    })),
  )
}

interface Method {
  readonly name: string
  readonly description: string
  readonly signature: string
  /** The operation, and the fragments that it needs. */
  readonly text: string
}

/** @param document One operation, and the fragments that it needs. */
function methodOf(document: DocumentNode, clientSchema: GraphQLSchema): Method {
  const node = getOperationAST(document)
  if (!node?.name) throw new Error('Every operation needs a name')
  const operationName = node.name.value
  const name = operationName.charAt(0).toLowerCase() + operationName.slice(1)
  const [field, ...others] = node.selectionSet.selections
  if (field?.kind !== Kind.FIELD || others.length > 0 || (field.alias ?? field.name).value !== name) {
    throw new Error(`${operationName} must ask for one field, and its name or alias must be ${name}`)
  }
  const type = operationName + node.operation.charAt(0).toUpperCase() + node.operation.slice(1)
  const variables = node.variableDefinitions ?? []
  const isRequired = variables.some((each) => each.type.kind === Kind.NON_NULL_TYPE && !each.defaultValue)
  const parameters = variables.length > 0 ? `variables${isRequired ? '' : '?'}: ${type}Variables` : ''
  return {
    name,
    description: clientSchema.getRootType(node.operation)?.getFields()[field.name.value]?.description ?? '',
    signature: `${name}(${parameters}): Promise<${type}['${name}']>`,
    text: stripIgnoredCharacters(print(document)),
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const [path, text] of Object.entries(await generate())) {
    await writeFile(new URL(path, import.meta.url), text)
  }
}
