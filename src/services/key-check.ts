import type { Logger } from 'pino'
import type { TokenStore } from '../stores/token-store.ts'

export interface KeyCheckDeps {
  readonly tokens: TokenStore
  readonly log: Logger
}

/** Records that a glance looks at. */
const GLANCE = 1_000

/** Records that others have sealed since the last one that we can open: one may be anybody's. */
const MANY = 2

/** What the records of the token store tell of the keys of this process. */
interface Evidence {
  /** When the last token was made whose record can be opened, in milliseconds; `undefined` where none can. */
  readonly lastOwn: number | undefined
  /** When the records were sealed for which we have no key, in milliseconds. */
  readonly foreign: readonly number[]
}

/**
 * Whether this process has the keys of those who write the token store. A record without its key counts as
 * damaged, and its token as unknown: with wrong keys every token does.
 */
export class KeyCheck {
  readonly #deps: KeyCheckDeps

  constructor(deps: KeyCheckDeps) {
    this.#deps = deps
  }

  /**
   * Logs an error where no record can be opened, as far as a glance tells.
   *
   * @throws {UnavailableError}
   */
  async warn(): Promise<void> {
    if (!areWrong(await this.#gather(GLANCE))) return
    this.#deps.log.error(
      'no record of the token store can be opened with a key of SESSION_SECRET: no token of before is accepted',
    )
  }

  /**
   * For whoever is about to write a record.
   *
   * @throws {Error} No record can be opened, as far as a glance tells.
   * @throws {UnavailableError}
   */
  async requireRight(): Promise<void> {
    if (areWrong(await this.#gather(GLANCE))) throw new Error(`${NONE_OPENS}, so nothing was made: ${ADVICE}`)
  }

  /**
   * For whoever is about to delete what cannot be opened: looks at every record.
   *
   * @throws {Error} No record can be opened, or several were sealed with another key since the last that can.
   * @throws {UnavailableError}
   */
  async requireCurrent(): Promise<void> {
    const evidence = await this.#gather(Number.POSITIVE_INFINITY)
    if (areWrong(evidence)) throw new Error(`${NONE_OPENS}, so nothing was mended: ${ADVICE}`)
    const { lastOwn = 0, foreign } = evidence
    const newer = foreign.filter((sealedAt) => sealedAt > lastOwn)
    if (newer.length < MANY) return
    throw new Error(
      `The newest ${newer.length} records of the token store were sealed with a key that SESSION_SECRET has not got, so nothing was mended: ${ADVICE}`,
    )
  }

  async #gather(limit: number): Promise<Evidence> {
    const { tokens } = this.#deps
    const foreign: number[] = []
    let lastOwn: number | undefined
    let seen = 0
    for await (const keys of tokens.scan()) {
      for (const entry of (await tokens.inspect(keys)).values()) {
        if ('data' in entry) lastOwn = Math.max(lastOwn ?? 0, entry.data.createdAt.getTime())
        else if (entry.sealedAt) foreign.push(entry.sealedAt.getTime())
      }
      seen += keys.length
      if (seen >= limit) break
    }
    return { lastOwn, foreign }
  }
}

const NONE_OPENS = 'No record of the token store can be opened with a key of SESSION_SECRET'
const ADVICE = 'set the keys of the server.'

const areWrong = ({ lastOwn, foreign }: Evidence): boolean => lastOwn === undefined && foreign.length > 0
