import type { Plugin } from 'graphql-yoga'

/**
 * The page of GraphiQL holds its scripts, styles and fonts in itself, and talks to this server only. Nobody may put it into
 * a frame: a token is typed into it.
 */
const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  "script-src 'unsafe-inline'",
  "style-src 'unsafe-inline'",
  'img-src data:',
  'font-src data:',
  "connect-src 'self'",
  // The editor starts its workers from texts of its own.
  'worker-src blob: data:',
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

const HEADERS = {
  'Content-Security-Policy': CONTENT_SECURITY_POLICY,
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'DENY',
  'Referrer-Policy': 'no-referrer',
}

/** Keeps other pages, and what would be written into this one, from the token that is typed into GraphiQL. */
export const useGraphiQLHeaders = (): Plugin => ({
  onResponse: ({ response: { headers } }) => {
    if (!headers.get('content-type')?.startsWith('text/html')) return
    for (const [name, value] of Object.entries(HEADERS)) headers.set(name, value)
  },
})
