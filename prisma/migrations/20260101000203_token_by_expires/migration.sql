-- Maintenance: tokens that have expired.
CREATE INDEX CONCURRENTLY IF NOT EXISTS porthor_token_by_expires ON token (expires);
