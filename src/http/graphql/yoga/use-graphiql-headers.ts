import type { Plugin } from 'graphql-yoga'

/**
 * The page of GraphiQL contains its scripts, styles and fonts, and connects only to this server. No page may embed it in a
 * frame: users type tokens into it.
 */
const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  "script-src 'unsafe-inline'",
  "style-src 'unsafe-inline'",
  'img-src data:',
  'font-src data:',
  "connect-src 'self'",
  // The editor starts its workers from code in the page.
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

/** Protects the token that is typed into GraphiQL from other pages, and from scripts injected into this one. */
export const useGraphiQLHeaders = (): Plugin => ({
  onResponse: ({ response: { headers } }) => {
    if (!headers.get('content-type')?.startsWith('text/html')) return
    for (const [name, value] of Object.entries(HEADERS)) headers.set(name, value)
  },
})
