-- The three tables shared with Gafaelfawr, to the letter of its catalogue: names, types, collations, keys.
-- A database that Gafaelfawr made already has them; `porthor migrate` then records this step as applied.
CREATE TYPE tokentype AS ENUM ('session', 'user', 'notebook', 'internal', 'service', 'oidc');
CREATE TYPE tokenchange AS ENUM ('create', 'revoke', 'expire', 'edit');

CREATE TABLE token (
    token text COLLATE "C" NOT NULL,
    username text NOT NULL,
    token_type tokentype NOT NULL,
    token_name text,
    scopes text NOT NULL,
    service text,
    created timestamp without time zone NOT NULL,
    last_used timestamp without time zone,
    expires timestamp without time zone,
    CONSTRAINT token_pkey PRIMARY KEY (token),
    CONSTRAINT token_username_token_name_key UNIQUE (username, token_name)
);
CREATE INDEX token_by_username ON token (username, token_type);

CREATE TABLE subtoken (
    child text COLLATE "C" NOT NULL,
    parent text COLLATE "C",
    CONSTRAINT subtoken_pkey PRIMARY KEY (child),
    CONSTRAINT subtoken_child_fkey FOREIGN KEY (child) REFERENCES token (token) ON DELETE CASCADE,
    CONSTRAINT subtoken_parent_fkey FOREIGN KEY (parent) REFERENCES token (token) ON DELETE SET NULL
);
CREATE INDEX subtoken_by_parent ON subtoken (parent);

CREATE TABLE token_change_history (
    id serial NOT NULL,
    token text NOT NULL,
    username text NOT NULL,
    token_type tokentype NOT NULL,
    token_name text,
    parent text,
    scopes text NOT NULL,
    service text,
    expires timestamp without time zone,
    actor text,
    action tokenchange NOT NULL,
    old_token_name text,
    old_scopes text,
    old_expires timestamp without time zone,
    ip_address inet,
    event_time timestamp without time zone NOT NULL,
    CONSTRAINT token_change_history_pkey PRIMARY KEY (id)
);
CREATE INDEX token_change_history_by_time ON token_change_history (event_time, id);
CREATE INDEX token_change_history_by_token ON token_change_history (token, event_time, id);
CREATE INDEX token_change_history_by_username ON token_change_history (username, event_time, id);
