-- Finds the live child of a request however many children its parent has. Scopes are hashed: a long list of them would
-- not fit into an index. Both kinds of token have few of one user, service and set of scopes.
CREATE INDEX CONCURRENTLY IF NOT EXISTS porthor_token_by_request
ON token (username, (coalesce(service, '')), hashtextextended(scopes, 0), expires)
WHERE token_type IN ('internal', 'notebook');
