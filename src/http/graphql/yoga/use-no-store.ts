import type { Plugin } from 'graphql-yoga'

/** Keeps responses out of caches, since any may contain a token. RFC 6750 section 5.3. */
export const useNoStore = (): Plugin => ({
  onResponse: ({ response }) => {
    response.headers.set('Cache-Control', 'no-store')
  },
})
