-- The statements that create an internal token (src/stores/database/token-database.ts), for pgbench.
\set i random(1, 1000000000000)
\set p random(0, 199)
SELECT match.token, match.expires
FROM subtoken CROSS JOIN LATERAL (SELECT * FROM token WHERE token = subtoken.child OFFSET 0) AS match
WHERE subtoken.parent = 'pgbench-parent-' || lpad(:p::text, 7, '0') AND match.username = 'wren'
  AND match.token_type = 'internal'::tokentype AND match.service IS NOT DISTINCT FROM 's' || :i::text
  AND match.scopes = 'read:all' AND match.expires >= '2026-01-01'::timestamp
ORDER BY match.expires DESC, match.created DESC, match.token;
BEGIN;
WITH parent AS MATERIALIZED (
  SELECT scopes, expires FROM token WHERE token = 'pgbench-parent-' || lpad(:p::text, 7, '0') FOR KEY SHARE
)
SELECT scopes, expires, pg_advisory_xact_lock(:i)::text FROM parent;
WITH vacant AS MATERIALIZED (
  SELECT WHERE NOT EXISTS (
    SELECT match.token, match.expires
    FROM subtoken CROSS JOIN LATERAL (SELECT * FROM token WHERE token = subtoken.child OFFSET 0) AS match
    WHERE subtoken.parent = 'pgbench-parent-' || lpad(:p::text, 7, '0') AND match.username = 'wren'
      AND match.token_type = 'internal'::tokentype AND match.service IS NOT DISTINCT FROM 's' || :i::text
      AND match.scopes = 'read:all' AND match.expires >= '2026-01-01'::timestamp
  )
), new_token AS (
  INSERT INTO token (token, username, token_type, token_name, scopes, service, created, expires)
  SELECT 'pgbench-' || lpad(:i::text, 14, '0'), 'wren', 'internal'::tokentype, NULL, 'read:all', 's' || :i::text,
         '2026-11-22'::timestamp, '2036-11-22'::timestamp
  FROM vacant
), lineage AS (
  INSERT INTO subtoken (child, parent)
  SELECT 'pgbench-' || lpad(:i::text, 14, '0'), 'pgbench-parent-' || lpad(:p::text, 7, '0') FROM vacant
)
INSERT INTO token_change_history
  (token, username, token_type, token_name, parent, scopes, service, expires, actor, action, ip_address, event_time)
SELECT 'pgbench-' || lpad(:i::text, 14, '0'), 'wren', 'internal'::tokentype, NULL,
       'pgbench-parent-' || lpad(:p::text, 7, '0'), 'read:all', 's' || :i::text, '2036-11-22'::timestamp, 'wren',
       'create', '127.0.0.1'::inet, '2026-11-22'::timestamp
FROM vacant;
COMMIT;
