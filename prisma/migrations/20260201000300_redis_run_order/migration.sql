-- The run of Redis that began to be used last is the one that revocations and edits must have reached.
ALTER TABLE porthor_redis_run ADD COLUMN began_at timestamp with time zone NOT NULL DEFAULT clock_timestamp();
UPDATE porthor_redis_run SET began_at = replayed_at;
