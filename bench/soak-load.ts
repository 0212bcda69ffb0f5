import { setTimeout as delay } from 'node:timers/promises'
import { parseToken } from '../src/domain/token.ts'
import { systemClock } from '../src/lib/clock.ts'
import { AskError, type Server } from './server.ts'

/**
 * Number of live sessions. The delegated token of each is requested about every four seconds. A session is revoked after
 * about nine minutes.
 */
const SESSIONS = 800

/** Sessions that are created at the same time at the start. */
const CREATION_BATCH_SIZE = 8

/** Lifetime of a user token, in seconds: the minimum, and a margin for the clock of the other process. */
const USER_TOKEN_LIFETIME_SECONDS = 305

/** Time between the last request of a session and its revocation, in milliseconds: responses are pending. */
const RETIRING_MS = 2_000

/** Percentages of all requests. The other 95 % request a delegated token. */
const TURNOVER = 1.5
const USER_TOKENS = 3.5

export const SHARES = `- ${100 - TURNOVER - USER_TOKENS} % request the delegated token of one of ${SESSIONS} sessions;
- ${TURNOVER} % create a session or, in turn, revoke the oldest with its child;
- ${USER_TOKENS} % create a user token that expires after ${USER_TOKEN_LIFETIME_SECONDS} s`

const DELEGATE = 'mutation { delegated: internalToken(service: "tap", scopes: ["read:all"]) { source } }'
const SESSION =
  'mutation ($name: String!) { made: createSessionToken(input: { username: $name, scopes: ["read:all"] }) { token } }'
const USER = `mutation ($name: String!, $end: DateTime!) {
  made: createUserToken(input: { username: $name, tokenName: $name, scopes: ["read:all"], expiresAt: $end }) { token } }`
const REVOKE = 'mutation ($key: ID!) { revokeToken(key: $key) { keys } }'

/** The users of two servers, and their requests. */
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

  /** Creates the first sessions. */
  async fill(): Promise<void> {
    const worker = async () => {
      while (this.#sessions.length < SESSIONS) await this.#makeSession()
    }
    await Promise.all(Array.from({ length: CREATION_BATCH_SIZE }, worker))
  }

  /** Sends one random request to a random server. Returns its outcome. */
  async step(): Promise<string> {
    const dice = Math.random() * 100
    try {
      if (dice < TURNOVER) return await this.#turnOver()
      if (dice < TURNOVER + USER_TOKENS) return await this.#makeUserToken()
      return await this.#delegate()
    } catch (error) {
      if (error instanceof AskError) return `error ${error.code}`
      return `no response: ${(error as Error).message}`
    }
  }

  /** Keeps the number of sessions constant: at random it would drift, and all counts with it. */
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
    const end = new Date(systemClock.now().getTime() + USER_TOKEN_LIFETIME_SECONDS * 1000).toISOString()
    await this.#ask(USER, { name: this.#newName(), end })
    return 'user token created'
  }

  async #delegate(): Promise<string> {
    const session = this.#sessions[Math.floor(Math.random() * this.#sessions.length)] ?? ''
    const { delegated } = await this.#server().ask<{ delegated: { source: string } }>(DELEGATE, session)
    return `delegated, from ${delegated.source}`
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
