-- History of what was done from an address, newest first.
CREATE INDEX CONCURRENTLY IF NOT EXISTS porthor_history_by_ip_address ON token_change_history (ip_address, event_time, id);
