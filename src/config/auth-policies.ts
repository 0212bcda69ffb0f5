import { parse as parseJson } from 'lossless-json'
import { z } from 'zod'
import { type AuthPolicy, POLICY_NAME, type PolicyDelegation } from '../domain/auth-policy.ts'
import { isServiceName } from '../domain/delegation.ts'
import { MIN_LIFETIME_SECONDS } from '../domain/lifetime.ts'
import { type KnownScopes, SCOPE_NAME, toScopes } from '../domain/scope.ts'
import { holdsBearerString } from '../domain/token.ts'
import { lazy } from '../lib/lazy.ts'
import { type Kind, parsed } from './kinds.ts'

/** Policies as they are written, by name. */
export type PolicyTable = Readonly<Record<string, unknown>>

const table = z.record(z.string(), z.unknown())

/** A JSON object of policies. Their members are checked with the settings that they depend on. */
export const policyTable = (): Kind<PolicyTable> =>
  parsed('JSON object of [policies](forward-auth.md#policies)', (text) => {
    let json: unknown
    try {
      // Unlike JSON.parse, it refuses a name that is there twice.
      json = parseJson(text, undefined, Number)
    } catch {
      throw new Error('must be a JSON object of policies: it is not JSON, or has a name twice')
    }
    const { data } = table.safeParse(json)
    if (!data) throw new Error('must be a JSON object of policies: it is not an object')
    return data
  })

/** What the members of a policy must agree with. */
export interface PolicyContext {
  readonly knownScopes: KnownScopes
  readonly undelegable: ReadonlySet<string>
  /** Services that a token may be issued for; `undefined`: any. */
  readonly services: ReadonlyMap<string, unknown> | undefined
  /** Lifetime of a delegated token, in seconds. */
  readonly delegatedLifetime: number
}

export interface ParsedPolicies {
  readonly policies: ReadonlyMap<string, AuthPolicy>
  /** Everything that is wrong, each with the name of the policy. */
  readonly problems: readonly string[]
}

/** Parses all policies, and finds all that is wrong with them. */
export function parsePolicies(written: PolicyTable, context: PolicyContext): ParsedPolicies {
  const policies = new Map<string, AuthPolicy>()
  const problems: string[] = []
  const schemaOf = lazy(() => createSchema(context))
  for (const [index, [name, value]] of Object.entries(written).entries()) {
    if (!POLICY_NAME.test(name) || holdsBearerString(name)) {
      problems.push(`policy ${index + 1} must have a name of 1 to 64 characters of ${NAME_RULE}`)
      continue
    }
    const { data, error } = schemaOf().safeParse(value)
    if (data) policies.set(name, toPolicy(name, data))
    else problems.push(...error.issues.map((issue) => `policy "${name}": ${describe(issue)}`))
  }
  return { policies, problems }
}

const NAME_RULE = 'A-Z a-z 0-9 . _ -, beginning with a letter or digit'

const anyText = z.string('must be text')

const list = <T extends z.ZodType>(item: T) => z.array(item, 'must be a list')

/** Names a value that may be a misplaced secret only where it has the form of a name. */
const quote = (value: unknown): string =>
  typeof value === 'string' && SCOPE_NAME.test(value) && value.length <= 64 && !holdsBearerString(value)
    ? ` "${value}"`
    : ''

const service = anyText.refine(isServiceName, 'must be 1 to 64 characters of A-Z a-z 0-9 . _ -')

function createSchema({ knownScopes, undelegable, services, delegatedLifetime }: PolicyContext) {
  const scope = anyText.refine((name) => knownScopes.has(name), {
    error: ({ input }) => `is a scope${quote(input)} that is not in KNOWN_SCOPES`,
  })
  const delegableScope = scope.refine((name) => !undelegable.has(name), {
    error: ({ input }) => `is a scope${quote(input)} that is never delegated (UNDELEGABLE_SCOPES)`,
  })
  const listedService = service.refine((name) => services === undefined || services.has(name), {
    error: ({ input }) => `is a service${quote(input)} that is not in DELEGATION_SERVICES`,
    when: ({ issues }) => issues.length === 0,
  })
  const notebook = z.strictObject({ notebook: z.literal(true, 'must be true, or absent') })
  const internal = z.strictObject(
    { service: listedService, scopes: list(delegableScope).default([]) },
    'must be {"service": "…", "scopes": […]} or {"notebook": true}',
  )
  const lifetime = z
    .number('must be a number of seconds')
    .int('must be a whole number of seconds')
    .min(MIN_LIFETIME_SECONDS, `must be at least ${MIN_LIFETIME_SECONDS} seconds`)
  const members = z.strictObject(
    {
      require: list(scope).default([]),
      satisfy: z.enum(['all', 'any'], 'must be all or any').default('all'),
      delegate: z.unknown().transform(delegation(internal, notebook)).optional(),
      minimumLifetime: lifetime.optional(),
      authorization: z.enum(['replace', 'remove', 'keep'], 'must be replace, remove or keep').optional(),
      onlyServices: list(listedService).min(1, 'must name a service: nobody would pass').optional(),
      username: anyText.min(1, 'must not be empty').max(64, 'must have at most 64 characters').optional(),
      anonymous: z.boolean('must be true or false').default(false),
    },
    'must be an object',
  )
  return members.superRefine((policy, { addIssue }) => {
    const report = (member: string, message: string) => addIssue({ code: 'custom', path: [member], message })
    const { require, satisfy, delegate, minimumLifetime, authorization, anonymous } = policy
    const maximum = delegatedLifetime - MIN_LIFETIME_SECONDS
    if (satisfy === 'any' && require.length === 0) report('satisfy', 'any needs scopes in require')
    if (authorization === 'replace' && !delegate) report('authorization', 'replace needs delegate')
    if (delegate && minimumLifetime !== undefined && minimumLifetime > maximum) {
      const bound = `${MIN_LIFETIME_SECONDS} less than the lifetime of a delegated token`
      report('minimumLifetime', `must be at most ${maximum} seconds: ${bound}`)
    }
    const isChecked = require.length > 0 || [delegate, minimumLifetime, authorization].some(Boolean)
    if (anonymous && (isChecked || policy.onlyServices || policy.username)) {
      report('anonymous', 'must be the only member: everybody passes')
    }
  })
}

type Policy = z.output<ReturnType<typeof createSchema>>

/** Reports what is wrong with `delegate` by the one of its forms that is meant. */
const delegation =
  (
    internal: z.ZodType<{ readonly service: string; readonly scopes: readonly string[] }>,
    notebook: z.ZodType<{ readonly notebook: true }>,
  ) =>
  (value: unknown, { addIssue }: z.core.$RefinementCtx): PolicyDelegation => {
    const isNotebook = typeof value === 'object' && value !== null && 'notebook' in value
    const { data, error } = (isNotebook ? notebook : internal).safeParse(value)
    for (const { message, path, ...issue } of error?.issues ?? []) {
      addIssue({ code: 'custom', path: [...path], message: explain({ ...issue, message, path }) })
    }
    if (!data) return z.NEVER
    return 'notebook' in data
      ? { type: 'notebook' }
      : { type: 'internal', service: data.service, scopes: toScopes(data.scopes) }
  }

function explain(issue: z.core.$ZodIssue): string {
  if (issue.code !== 'unrecognized_keys') return issue.message
  const names = issue.keys.map(quote)
  return `has unknown members${names.includes('') ? '' : `:${names.join()}`}`
}

const describe = (issue: z.core.$ZodIssue): string =>
  [
    issue.path.map((part) => (typeof part === 'number' ? `entry ${part + 1}` : String(part))).join(' '),
    explain(issue),
  ]
    .filter(Boolean)
    .join(' ')

function toPolicy(name: string, policy: Policy): AuthPolicy {
  if (policy.anonymous) return { name, kind: 'anonymous' }
  const { require, satisfy, delegate, minimumLifetime, authorization, onlyServices, username } = policy
  return {
    name,
    kind: 'token',
    require: toScopes(require),
    satisfy,
    delegate,
    minimumLifetime,
    authorization: authorization ?? (delegate ? 'replace' : 'keep'),
    onlyServices,
    username,
  }
}
