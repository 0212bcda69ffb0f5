import { setTimeout as delay } from 'node:timers/promises'
import { parseToken } from '../src/domain/token.ts'
import { AskError, type Server } from './server.ts'

/**
 * Sessions alive at a time. Each is asked for its delegated token every four seconds or so, and lives for about nine
 * minutes.
 */
const SESSIONS = 800

/** Sessions that are made at the same time at the start. */
const MADE_AT_ONCE = 8

/** Least life of a user token, in seconds, and a little: it is made for the clock of another process. */
const USER_TOKEN_LIFE = 305

/** A session is not asked for any more for so long before it is revoked, in milliseconds: answers are on their way. */
const RETIRING_MS = 2_000

/** In percent of all requests. The rest, 95 of them, ask for a delegated token. */
const TURNOVER = 1.5
const USER_TOKENS = 3.5

export const SHARES = `- ${100 - TURNOVER - USER_TOKENS} % request the delegated token of one of ${SESSIONS} sessions;
- ${TURNOVER} % create a session or, in turn, revoke the oldest with its child;
- ${USER_TOKENS} % create a user token that expires after ${USER_TOKEN_LIFE} s`

const LEND = 'mutation { lent: internalToken(service: "tap", scopes: ["read:all"]) { source } }'
const SESSION =
  'mutation ($name: String!) { made: createSessionToken(input: { username: $name, scopes: ["read:all"] }) { token } }'
const USER = `mutation ($name: String!, $end: DateTime!) {
  made: createUserToken(input: { username: $name, tokenName: $name, scopes: ["read:all"], expiresAt: $end }) { token } }`
const REVOKE = 'mutation ($key: ID!) { revokeToken(key: $key) { keys } }'

/** The users of two servers, and what they do. */
export class Population {
  readonly #servers: readonly Server[]
  readonly #admin: string
  /** Bearer strings, oldest first. */
  readonly #sessions: string[] = []
  #users = 0

  constructor(servers: readonly Server[], admin: string) {
    this.#servers = servers
    this.#admin = admin
  }

  /** Makes the first sessions. */
  async fill(): Promise<void> {
    const worker = async () => {
      while (this.#sessions.length < SESSIONS) await this.#makeSession()
    }
    await Promise.all(Array.from({ length: MADE_AT_ONCE }, worker))
  }

  /** One request of a random kind to a random server. Answers with how it came out. */
  async step(): Promise<string> {
    const dice = Math.random() * 100
    try {
      if (dice < TURNOVER) return await this.#turnOver()
      if (dice < TURNOVER + USER_TOKENS) return await this.#makeUserToken()
      return await this.#lend()
    } catch (error) {
      if (error instanceof AskError) return `error ${error.code}`
      return `no answer: ${(error as Error).message}`
    }
  }

  /** By chance their number would drift, and with it all that is counted. */
  #turnOver(): Promise<string> {
    return this.#sessions.length < SESSIONS ? this.#makeSession() : this.#revokeOldest()
  }

  async #makeSession(): Promise<string> {
    const { made } = await this.#ask<{ made: { token: string } }>(SESSION, { name: this.#newName() })
    this.#sessions.push(made.token)
    return 'session created'
  }

  async #revokeOldest(): Promise<string> {
    const token = this.#sessions.shift() ?? ''
    await delay(RETIRING_MS)
    await this.#ask(REVOKE, { key: parseToken(token).key })
    return 'session revoked'
  }

  async #makeUserToken(): Promise<string> {
    const end = new Date(Date.now() + USER_TOKEN_LIFE * 1000).toISOString()
    await this.#ask(USER, { name: this.#newName(), end })
    return 'user token created'
  }

  async #lend(): Promise<string> {
    const session = this.#sessions[Math.floor(Math.random() * this.#sessions.length)] ?? ''
    const { lent } = await this.#server().ask<{ lent: { source: string } }>(LEND, session)
    return `delegated, from ${lent.source}`
  }

  #ask<T>(query: string, variables: object): Promise<T> {
    return this.#server().ask<T>(query, this.#admin, variables)
  }

  #server(): Server {
    const server = this.#servers[Math.floor(Math.random() * this.#servers.length)]
    if (!server) throw new Error('there are no servers')
    return server
  }

  #newName(): string {
    this.#users += 1
    return `user${this.#users}`
  }
}
