import { readdir, readFile } from 'node:fs/promises'
import { type ESTree, parseSync, Visitor } from 'vite'

const SRC = new URL('../../src/', import.meta.url)

export interface SourceFile {
  /** Below `src/`. */
  readonly path: string
  readonly program: ESTree.Program
  readonly textOf: (node: { readonly start: number; readonly end: number }) => string
  /** The text that a string literal has, or a constant of this file that is one; `undefined` for all else. */
  readonly stringOf: (node: ESTree.Node | undefined) => string | undefined
}

/** Every source file that is written by hand. */
export async function readSources(): Promise<readonly SourceFile[]> {
  const paths = (await readdir(SRC, { recursive: true })).filter(
    (path) => path.endsWith('.ts') && !path.includes('generated/'),
  )
  return Promise.all(paths.map(async (path) => parse(path, await readFile(new URL(path, SRC), 'utf8'))))
}

function parse(path: string, text: string): SourceFile {
  const { program } = parseSync(path, text)
  const constants = new Map<string, string>()
  new Visitor({
    VariableDeclarator: ({ id, init }) => {
      if (id.type !== 'Identifier' || init?.type !== 'Literal' || typeof init.value !== 'string') return
      constants.set(id.name, init.value)
    },
  }).visit(program)
  return {
    path,
    program,
    textOf: ({ start, end }) => text.slice(start, end),
    stringOf: (node) => {
      if (node?.type === 'Literal' && typeof node.value === 'string') return node.value
      return node?.type === 'Identifier' ? constants.get(node.name) : undefined
    },
  }
}

export interface LogMessage {
  readonly message: string
  readonly level: string
}

/** Loggers that log the messages of their callers. */
const FORWARDERS = /^lib\/(outage-log|repeat-limited-log|rate-limited-log)\.ts$/

/** Their `info` is a command of Redis. */
const REDIS_CLIENTS = /^(redis|connection)$/

/** `report` is a method of `OutageLog`, which warns. */
const LEVELS: ReadonlyMap<string, string> = new Map([
  ['info', 'info'],
  ['warn', 'warn'],
  ['error', 'error'],
  ['report', 'warn'],
])

/**
 * The messages of every call that logs.
 *
 * @throws {Error} A message is not a literal, so that nobody can look it up.
 */
export function findLogMessages({ path, program, textOf, stringOf }: SourceFile): readonly LogMessage[] {
  if (FORWARDERS.test(path)) return []
  const found: LogMessage[] = []
  new Visitor({
    CallExpression: (call) => {
      const { callee } = call
      if (callee.type !== 'MemberExpression' || callee.property.type !== 'Identifier') return
      const level = LEVELS.get(callee.property.name)
      if (level === undefined || call.arguments.length === 0) return
      if (REDIS_CLIENTS.test(textOf(callee.object))) return
      const message = call.arguments.map(stringOf).find((text) => text !== undefined)
      if (message === undefined) throw new Error(`${path}: ${textOf(call)} has no message that is a literal`)
      found.push({ message, level })
    },
  }).visit(program)
  return found
}

const CODE = /^[A-Z]+(_[A-Z]+)+$/

/** The codes of errors that stand for themselves: as a property `code`, or as the first argument of `refuse`. */
export function findErrorCodes({ program, stringOf }: SourceFile): readonly string[] {
  const found: (string | undefined)[] = []
  new Visitor({
    Property: ({ key, value }) => {
      if (key.type !== 'Identifier' || key.name !== 'code') return
      found.push(stringOf(value.type === 'AssignmentPattern' ? value.right : value))
    },
    CallExpression: ({ callee, arguments: [first] }) => {
      if (callee.type === 'Identifier' && callee.name === 'refuse') found.push(stringOf(first))
    },
  }).visit(program)
  return found.filter((code) => code !== undefined && CODE.test(code)) as string[]
}

const SETTING = /^[A-Z][A-Z_]+$/

/** The settings that are read as `env.NAME`. */
export function findSettings({ program }: SourceFile): readonly string[] {
  const found: string[] = []
  new Visitor({
    MemberExpression: ({ object, property }) => {
      if (object.type !== 'Identifier' || object.name !== 'env' || property.type !== 'Identifier') return
      found.push(property.name)
    },
  }).visit(program)
  return found.filter((name) => SETTING.test(name))
}

/** The members of the interface `name`, wherever it is declared. */
export function findMembers({ program }: SourceFile, name: string): readonly string[] {
  const found: string[] = []
  new Visitor({
    TSInterfaceDeclaration: ({ id, body }) => {
      if (id.name !== name) return
      for (const member of body.body) {
        if (member.type === 'TSPropertySignature' && member.key.type === 'Identifier')
          found.push(member.key.name)
      }
    },
  }).visit(program)
  return found
}
