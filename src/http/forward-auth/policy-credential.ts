import type { IncomingMessage } from 'node:http'
import { isBearerString } from '../../domain/token.ts'
import type { Fernet } from '../../lib/fernet.ts'
import { authorizationValues, parseAuthorization } from '../authorization.ts'
import { findTokenInState } from './cookie-state.ts'
import { findCookie } from './cookies.ts'

/** A cookie that may hold the user's token. */
export interface SessionCookie {
  readonly name: string
  /** Decrypts the state of a Gafaelfawr. */
  readonly encryption: Fernet
}

/** The text that a request presents as its token. */
export type Credential =
  | { readonly kind: 'token'; readonly text: string }
  | { readonly kind: 'none' }
  /** Several, and they differ. */
  | { readonly kind: 'ambiguous' }

const NONE: Credential = { kind: 'none' }
const AMBIGUOUS: Credential = { kind: 'ambiguous' }

/** Begins every bearer string of ours: what begins with it is meant as one, and the cookie does not count. */
const PREFIX = 'gt-'

/** Finds the token of a request for a policy: in `Authorization`, else in the cookie. */
export function findCredential(request: IncomingMessage, cookie: SessionCookie | undefined): Credential {
  const [authorization, ...others] = authorizationValues(request)
  if (others.some((other) => other !== authorization)) return AMBIGUOUS
  const found = authorization === undefined ? NONE : inAuthorization(authorization)
  return found.kind === 'none' && cookie ? inCookie(request, cookie) : found
}

function inAuthorization(value: string): Credential {
  const parsed = parseAuthorization(value)
  switch (parsed.scheme) {
    case 'bearer':
      return parsed.token.startsWith(PREFIX) ? { kind: 'token', text: parsed.token } : NONE
    case 'basic': {
      // Not by the prefix: usernames and passwords of others may begin with it too.
      const texts = [parsed.username, parsed.password].filter(isBearerString)
      const [text, other = text] = texts
      if (text === undefined) return NONE
      return text === other ? { kind: 'token', text } : AMBIGUOUS
    }
    case 'other':
      return NONE
  }
}

/** Of several cookies with the name, the last counts. */
function inCookie({ headers: { cookie } }: IncomingMessage, { name, encryption }: SessionCookie): Credential {
  if (!cookie?.includes(name)) return NONE
  const value = findCookie([cookie], name)
  if (value === undefined) return NONE
  const text = value.startsWith(PREFIX) ? value : findTokenInState(value, encryption)
  return text === undefined ? NONE : { kind: 'token', text }
}
