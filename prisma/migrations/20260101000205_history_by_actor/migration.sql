-- History of what an actor did, newest first.
CREATE INDEX CONCURRENTLY IF NOT EXISTS porthor_history_by_actor ON token_change_history (actor, event_time, id);
