-- Lists of the tokens of a type, newest first.
CREATE INDEX CONCURRENTLY IF NOT EXISTS porthor_token_by_type_created ON token (token_type, created, token);
