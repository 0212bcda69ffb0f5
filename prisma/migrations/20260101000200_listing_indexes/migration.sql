-- Indexes for Porthor's lists and upkeep, beside those that Gafaelfawr has. Each list is newest first, by
-- time and then by key, so that a page begins where the last one ended, however far down that is.
CREATE INDEX porthor_token_by_created ON token (created, token);
CREATE INDEX porthor_token_by_username_created ON token (username, created, token);
CREATE INDEX porthor_token_by_type_created ON token (token_type, created, token);
CREATE INDEX porthor_token_by_expires ON token (expires);
CREATE INDEX porthor_history_by_parent ON token_change_history (parent, event_time, id);
CREATE INDEX porthor_history_by_actor ON token_change_history (actor, event_time, id);
CREATE INDEX porthor_history_by_ip_address ON token_change_history (ip_address, event_time, id);
CREATE INDEX porthor_history_by_type ON token_change_history (token_type, event_time, id);
