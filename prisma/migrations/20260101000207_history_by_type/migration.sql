-- History of the tokens of a type, newest first.
CREATE INDEX CONCURRENTLY IF NOT EXISTS porthor_history_by_type ON token_change_history (token_type, event_time, id);
