/** What is wrong with one parameter or header of a request: an item of `detail` in a 422 response, as FastAPI writes it. */
export interface Problem {
  readonly loc: readonly [place: 'query' | 'header', name: string]
  /** Has no text of the request in it. */
  readonly msg: string
  readonly type: string
}

/** A required header field is missing. @param name In lower case. */
export const missingHeader = (name: string): Problem => ({
  loc: ['header', name],
  msg: 'Field required',
  type: 'missing',
})

export const queryProblem = (name: string, type: string, msg: string): Problem => ({
  loc: ['query', name],
  msg,
  type,
})
