-- Lists of a user's tokens, newest first.
CREATE INDEX CONCURRENTLY IF NOT EXISTS porthor_token_by_username_created ON token (username, created, token);
