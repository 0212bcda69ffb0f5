import type pg from 'pg'

export interface DataSize {
  readonly tokens: number
  /** Total number of history events; at least one for each token. */
  readonly changes: number
}

/** Tokens of one tree: a session, user or service token, and delegated tokens on four levels. */
const TREE = 10

/** Days in which the live tokens were created, and days of the whole history. */
const LIVE_DAYS = 29
const HISTORY_DAYS = 364

/**
 * Fills a migrated, empty database in one transaction: trees of ten tokens whose users have few or very many, a `create`
 * event for each token, and for tokens without a row a `create` event and one of their expiry or revocation. The data
 * differ only in their times, which end now. The indexes are created last.
 */
export async function generateData(client: pg.Client, { tokens, changes }: DataSize): Promise<void> {
  if (changes < tokens) throw new RangeError('changes must not be less than tokens')
  const users = Math.max(10, Math.round(tokens / 100))
  const gone = Math.floor((changes - tokens) / 2)
  await client.query('BEGIN')
  await client.query("SET LOCAL synchronous_commit = off; SET LOCAL maintenance_work_mem = '512MB'")
  const indexes = await dropIndexes(client)
  await client.query(FUNCTIONS)
  await client.query(liveTokens(tokens, users))
  await client.query(`
    INSERT INTO token (token, username, token_type, token_name, scopes, service, created, expires)
    SELECT token, username, token_type, token_name, scopes, service, created, expires FROM sample ORDER BY i`)
  await client.query(
    'INSERT INTO subtoken SELECT token, parent FROM sample WHERE parent IS NOT NULL ORDER BY i',
  )
  await client.query(history(gone, users))
  for (const index of indexes) await client.query(index)
  await client.query('DROP TABLE sample')
  await client.query('COMMIT')
  await client.query('VACUUM ANALYZE token, subtoken, token_change_history')
}

/** Drops the indexes and foreign keys that are created faster at the end. Returns the SQL that creates them. */
async function dropIndexes(client: pg.Client): Promise<string[]> {
  const { rows } = await client.query<{ drop: string; create: string }>(`
    SELECT format('DROP INDEX %s', indexrelid::regclass) AS drop, pg_get_indexdef(indexrelid) AS create
    FROM pg_index
    WHERE indrelid IN ('token'::regclass, 'subtoken'::regclass, 'token_change_history'::regclass)
      AND indexrelid NOT IN (SELECT conindid FROM pg_constraint)
    UNION ALL
    SELECT format('ALTER TABLE subtoken DROP CONSTRAINT %I', conname),
           format('ALTER TABLE subtoken ADD CONSTRAINT %I %s', conname, pg_get_constraintdef(oid))
    FROM pg_constraint WHERE conrelid = 'subtoken'::regclass AND contype = 'f'`)
  for (const { drop } of rows) await client.query(drop)
  return rows.map(({ create }) => create)
}

/** `user_of` distributes numbers unevenly over users: the first has a hundred times as many as most. */
const FUNCTIONS = `
  CREATE FUNCTION pg_temp.key(kind text, i bigint) RETURNS text LANGUAGE sql IMMUTABLE AS
    $$ SELECT translate(left(encode(decode(md5(kind || i::text), 'hex'), 'base64'), 22), '+/', '-_') $$;
  CREATE FUNCTION pg_temp.username(u int) RETURNS text LANGUAGE sql IMMUTABLE AS
    $$ SELECT CASE WHEN u % 20 = 0 THEN 'bot-worker' || u::text ELSE 'user' || u::text END $$;
  CREATE FUNCTION pg_temp.address(u int, n bigint) RETURNS inet LANGUAGE sql IMMUTABLE AS
    $$ SELECT CASE WHEN u % 5 = 4 THEN '2001:db8::'::inet + (u::bigint * 65536 + 1 + n % 20)
                   ELSE '10.0.0.0'::inet + (u::bigint * 256 + 1 + n % 20) END $$;
  CREATE FUNCTION pg_temp.user_of(i bigint, users int) RETURNS int LANGUAGE sql IMMUTABLE AS
    $$ SELECT floor(users * power((hashint8(i)::bigint + 2147483648) / 4294967296.0, 2))::int $$;
  CREATE FUNCTION pg_temp.ago(days float) RETURNS timestamp LANGUAGE sql STABLE AS
    $$ SELECT date_trunc('second', now() AT TIME ZONE 'UTC' - days * interval '1 day') $$`

/** Tree `t` has the tokens 10 t to 10 t + 9; `p` is the position in the tree. */
const liveTokens = (tokens: number, users: number): string => `
  CREATE TEMP TABLE sample AS
  SELECT i, u, pg_temp.key('live', i) AS token, pg_temp.username(u) AS username,
         (CASE WHEN p = 1 THEN 'notebook' WHEN p > 1 THEN 'internal' ELSE root END)::tokentype AS token_type,
         CASE WHEN p = 0 AND root = 'user' THEN 'token ' || t END AS token_name,
         CASE WHEN p < 2 THEN 'exec:notebook,read:all,read:tap,user:token'
              WHEN p % 2 = 0 THEN 'read:all' ELSE 'read:all,read:tap' END AS scopes,
         CASE WHEN p > 1 THEN (ARRAY['tap', 'portal', 'cutouts', 'hips', 'sia', 'butler', 'ssotap', 'times'])[p - 1] END AS service,
         pg_temp.ago(${LIVE_DAYS} * (1 - i / ${tokens}::float)) AS created,
         CASE WHEN p > 0 OR root = 'session' THEN pg_temp.ago(${LIVE_DAYS} * (1 - t * ${TREE} / ${tokens}::float) - 30)
              WHEN t % 2 = 0 THEN pg_temp.ago(-365) END AS expires,
         pg_temp.key('live', t * ${TREE} + (ARRAY[NULL, 0, 0, 0, 0, 1, 1, 1, 2, 5])[p + 1]) AS parent
  FROM generate_series(0, ${tokens - 1}) AS i
    CROSS JOIN LATERAL (SELECT i / ${TREE} AS t, i % ${TREE} AS p) AS place
    CROSS JOIN LATERAL (SELECT pg_temp.user_of(t, ${users}) AS u) AS owner
    CROSS JOIN LATERAL (SELECT CASE WHEN u % 20 = 0 THEN 'service' WHEN t % 20 < 3 THEN 'user' ELSE 'session' END AS root) AS kind`

const history = (gone: number, users: number): string => `
  INSERT INTO token_change_history
    (token, username, token_type, token_name, parent, scopes, service, expires, actor, action, ip_address, event_time)
  SELECT token, username, token_type, token_name, parent, scopes, service, expires,
         CASE WHEN parent IS NULL THEN '<bootstrap>' ELSE username END, 'create'::tokenchange,
         pg_temp.address(u, i), created AS event_time
  FROM sample
  UNION ALL
  SELECT pg_temp.key('gone', i), pg_temp.username(u), (CASE WHEN i % 9 = 0 THEN 'notebook' ELSE 'internal' END)::tokentype,
         NULL, pg_temp.key('parent', i / 9), 'read:all', CASE WHEN i % 9 > 0 THEN 'tap' END,
         pg_temp.ago(days_ago - 30), CASE WHEN action = 'expire' THEN '<internal>' ELSE pg_temp.username(u) END,
         action::tokenchange, CASE WHEN action <> 'expire' THEN pg_temp.address(u, i) END,
         pg_temp.ago(CASE action WHEN 'create' THEN days_ago WHEN 'revoke' THEN days_ago - 10 ELSE days_ago - 30 END)
  FROM generate_series(1, ${gone}) AS i
    CROSS JOIN LATERAL (SELECT pg_temp.user_of(i / 9, ${users}) AS u,
                               ${HISTORY_DAYS} - (${HISTORY_DAYS} - 31) * i / ${Math.max(1, gone)}::float AS days_ago) AS facts
    CROSS JOIN LATERAL (VALUES ('create'), (CASE WHEN i % 10 = 0 THEN 'revoke' ELSE 'expire' END)) AS event (action)
  ORDER BY event_time`
