import type { Plugin } from 'graphql-yoga'

/** Keeps answers, any of which may carry a token, out of every cache on the way. RFC 6750 section 5.3. */
export const useNoStore = (): Plugin => ({
  onResponse: ({ response }) => {
    response.headers.set('Cache-Control', 'no-store')
  },
})
