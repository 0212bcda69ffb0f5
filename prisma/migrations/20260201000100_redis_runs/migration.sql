-- The runs of Redis, each with its replication history, that hold what the history of tokens says. One that is not
-- here may have lost acknowledged changes: the recent history is applied to it before its replies are used.
CREATE TABLE porthor_redis_run (
    identity text COLLATE "C" NOT NULL,
    -- Begin of the transaction that applied the history.
    replayed_at timestamp with time zone NOT NULL,
    -- When a process last used it, give or take a minute.
    seen_at timestamp with time zone NOT NULL,
    CONSTRAINT porthor_redis_run_pkey PRIMARY KEY (identity)
);
