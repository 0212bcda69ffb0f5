-- The token store for installations without Redis: the ciphertexts that Redis would hold, and when they end.
CREATE TABLE porthor_token_store (
    token text COLLATE "C" NOT NULL,
    value text NOT NULL,
    expires timestamp without time zone,
    CONSTRAINT porthor_token_store_pkey PRIMARY KEY (token)
);
CREATE INDEX porthor_token_store_by_expires ON porthor_token_store (expires);
