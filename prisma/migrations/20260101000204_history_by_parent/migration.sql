-- History of the tokens below a parent, newest first.
CREATE INDEX CONCURRENTLY IF NOT EXISTS porthor_history_by_parent ON token_change_history (parent, event_time, id);
