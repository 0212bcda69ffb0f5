import { renderGraphiQL } from '@graphql-yoga/render-graphiql'
import type { GraphiQLOptions } from 'graphql-yoga'

const BEARER = JSON.stringify({ Authorization: 'Bearer gt-PUT.YOUR-TOKEN-HERE' }, null, 2)

const WELCOME = `# Porthor issues, caches and reuses delegated
# tokens.
#
# 1. Paste a token into "Headers" below: first the
#    bootstrap token; the server printed its place.
# 2. Make a session with it, and put the session's
#    token into "Headers" of the other tabs.
# 3. Run them. Ask twice for an internal token: the
#    second answer's source is CACHE.

mutation FirstSession {
  createSessionToken(
    input: {
      username: "wren"
      scopes: ["user:token", "read:all", "exec:notebook"]
    }
  ) {
    token
    info {
      key
      expiresAt
    }
  }
}
`

const INTERNAL_TOKEN = `# With a session's token in "Headers": a token for one
# service, with some of its scopes.
mutation InternalToken {
  internalToken(
    service: "image-cutouts"
    scopes: ["read:all"]
  ) {
    token
    scopes
    expiresAt
    source
  }
}
`

const NOTEBOOK_TOKEN = `# With a session's token in "Headers": a token for the
# user's notebook, with all its scopes.
mutation NotebookToken {
  notebookToken(minimumLifetime: 3600) {
    token
    scopes
    expiresAt
    source
  }
}
`

const VIEWER = `# Who the token in "Headers" belongs to, and what this
# installation knows of scopes.
query Viewer {
  viewer {
    token {
      key
      type
      scopes
      expiresAt
    }
    user {
      username
      name
      email
      groups {
        name
        id
      }
    }
  }
  scopes {
    name
    description
  }
}
`

const TREE = `# With an admin's token in "Headers", or one's own with
# user:token: a user's tokens as a tree.
query TokenTree {
  tokens(username: "wren", type: SESSION, first: 10) {
    totalCount
    nodes {
      ...Facts
      children(first: 10) {
        nodes {
          ...Facts
          service
          children(first: 10) {
            nodes {
              ...Facts
              service
            }
          }
        }
      }
    }
  }
}

fragment Facts on Token {
  key
  type
  scopes
  expiresAt
  lastUsedAt
}
`

const HISTORY = `# What happened to tokens: put a key into the filter, or a
# user, an actor, an address or block, a time.
query History {
  tokenChanges(filter: { username: "wren", ipAddress: "127.0.0.0/8" }, first: 20) {
    nodes {
      eventTime
      action
      token
      type
      actor
      ipAddress
      scopes
      oldScopes
    }
    pageInfo {
      hasNextPage
      endCursor
    }
  }
}
`

const BULK = `# With an admin's token in "Headers": what would die.
# Without dryRun, it does.
mutation BulkDryRun {
  revokeTokens(filter: { username: "wren", type: INTERNAL }, dryRun: true) {
    count
    keys(first: 10)
  }
}
`

/** GraphiQL with a tour of the API in tabs, and a place for the bearer token, which it does not keep. */
export const graphiqlOptions: GraphiQLOptions = {
  title: 'Porthor',
  defaultTabs: [WELCOME, INTERNAL_TOKEN, NOTEBOOK_TOKEN, VIEWER, TREE, HISTORY, BULK].map((query) => ({
    query,
    headers: BEARER,
  })),
  defaultHeaders: BEARER,
  defaultEditorToolsVisibility: 'headers',
  shouldPersistHeaders: false,
}

// GraphiQL's tabs can be dragged, and keep a stale offset from when they were laid out, which takes effect
// when one is pressed: it jumps away from under the mouse, and its first click is lost.
const STILL_TABS = '.graphiql-tab { transform: none !important; }'

/** The page that the browser gets. It loads nothing from elsewhere. */
export const renderGraphiQLPage = (options?: GraphiQLOptions): string =>
  renderGraphiQL(options).replace('</style>', `${STILL_TABS}</style>`)
