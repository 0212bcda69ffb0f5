-- Lists of all tokens, newest first: by time and then by key, so that a page begins where the last one ended.
CREATE INDEX CONCURRENTLY IF NOT EXISTS porthor_token_by_created ON token (created, token);
