import { renderGraphiQL } from '@graphql-yoga/render-graphiql'
import type { GraphiQLOptions } from 'graphql-yoga'
import { lazy } from '../../../lib/lazy.ts'

const BEARER = JSON.stringify({ Authorization: 'Bearer gt-PUT.YOUR-TOKEN-HERE' }, null, 2)

const WELCOME = `# Porthor issues, caches and reuses delegated
# tokens.
#
# 1. Paste a token into "Headers" below: first the
#    bootstrap token, from the file that the server
#    names at start.
# 2. Run this tab: it creates a session. Paste the
#    session's token into "Headers" of the other tabs.
# 3. Run the other tabs. Run "InternalToken" twice: the
#    second response has the source CACHE.

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

const INTERNAL_TOKEN = `# With a session's token in "Headers": delegates the
# session to one service, with some of its scopes.
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

const NOTEBOOK_TOKEN = `# With a session's token in "Headers": delegates the
# session to the user's notebook, with all its scopes
# that may be delegated.
mutation NotebookToken {
  notebookToken(minimumLifetime: 3600) {
    token
    scopes
    expiresAt
    source
  }
}
`

const VIEWER = `# The token in "Headers", its user, and the scopes that
# are known.
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

const TREE = `# With an admin's token in "Headers", or one of the same
# user with user:token: a user's tokens as a tree.
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

const HISTORY = `# History events of tokens. The filter also takes a token
# key, an actor, an address or CIDR block, and times.
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

const BULK = `# With an admin's token in "Headers": counts what would be
# revoked. Without dryRun, revokes it.
mutation BulkDryRun {
  revokeTokens(filter: { username: "wren", type: INTERNAL }, dryRun: true) {
    count
    keys(first: 10)
  }
}
`

/** GraphiQL with a tour of the API in tabs. It does not store the headers, where the bearer token is. */
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

// GraphiQL's tabs can be dragged, and keep an outdated offset from their layout. It takes effect on a press: the tab
// moves away from the pointer, and the first click is lost.
const STILL_TABS = '.graphiql-tab { transform: none !important; }'

/**
 * Returns the HTML page, in UTF-8. It loads nothing from other servers. It is the same buffer each time: a client that does
 * not read it holds no copy of its own.
 */
export const getGraphiQLPage = lazy(() =>
  Buffer.from(renderGraphiQL(graphiqlOptions).replace('</style>', `${STILL_TABS}</style>`)),
)
