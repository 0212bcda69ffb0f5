import type { Plugin } from 'graphql-yoga'

/** What Yoga refuses with a status alone, and what would be right. */
const ADVICE: Readonly<Record<number, string>> = {
  406: 'The answer is JSON: accept application/json or application/graphql-response+json.',
  415: 'Send the request as JSON, with the header Content-Type: application/json.',
}

const FORM_TYPE = /^application\/x-www-form-urlencoded\b/i

/** Gives a refusal that would be empty a body that says what would be right. */
export const useSpokenRefusals = (): Plugin => ({
  onRequestParse: ({ request, endResponse, fetchAPI }) => {
    // What `curl -d` says of any body: Yoga would take the JSON for a form, and miss the query.
    if (FORM_TYPE.test(request.headers.get('content-type') ?? ''))
      endResponse(new fetchAPI.Response(null, { status: 415 }))
  },
  onResponse: ({ response, setResponse, fetchAPI }) => {
    const message = ADVICE[response.status]
    if (message === undefined || response.body) return
    const body = JSON.stringify({ errors: [{ message, extensions: { code: 'BAD_REQUEST' } }] })
    const headers = Object.fromEntries(response.headers)
    setResponse(
      new fetchAPI.Response(body, {
        status: response.status,
        headers: {
          ...headers,
          'content-type': 'application/json; charset=utf-8',
          'content-length': String(body.length),
        },
      }),
    )
  },
})
