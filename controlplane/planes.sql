-- name: one_at_a_time
-- Until the end of the transaction nobody else comes, or says that it is about to end. No advisory lock: those anybody may take.
LOCK TABLE control_planes IN SHARE UPDATE EXCLUSIVE MODE;

-- name: seen
-- This control plane is there, with this connection, to stay or about to end ($3); what nobody has seen for long is forgotten.
-- Does not wait for the disk. Returns how many others are there to stay, where one is reached that has another home, if any is, the
-- server's processes for the connections of the others, and the time.
WITH at_once AS (SELECT set_config('synchronous_commit', 'off', true)),
me AS (
  INSERT INTO control_planes (instance, address, leaving, home, skew, backend, backend_start)
  SELECT $1, $2, $3, $5, $6, a.pid, a.backend_start FROM pg_stat_activity a, at_once WHERE a.pid = pg_backend_pid()
  ON CONFLICT (instance) DO UPDATE SET seen_at = now(), address = excluded.address, leaving = excluded.leaving, skew = excluded.skew,
    backend = excluded.backend, backend_start = excluded.backend_start
), gone AS (
  DELETE FROM control_planes WHERE instance <> $1 AND seen_at < now() - interval '1 hour'
)
SELECT count(*) FILTER (WHERE NOT p.leaving) AS others, min(p.address) FILTER (WHERE p.home <> $5) AS stranger,
  coalesce(array_agg(p.backend), '{}') AS backends, extract(epoch FROM clock_timestamp())::float8 AS clock
FROM control_planes p JOIN pg_stat_activity a ON a.pid = p.backend AND a.backend_start = p.backend_start
WHERE p.instance <> $1 AND p.seen_at > now() - make_interval(secs => $4);

-- name: lead
-- Takes or keeps the lease: of two who try at once one gets it. It is free when it has run out, and when whoever has it is gone with
-- its connection. Nothing: another one has it.
WITH at_once AS (SELECT set_config('synchronous_commit', 'off', true))
INSERT INTO control_lease AS l (instance, generation, expires_at)
SELECT $1, 1, now() + make_interval(secs => $2) FROM at_once
ON CONFLICT (one) DO UPDATE SET instance = excluded.instance, expires_at = excluded.expires_at,
  generation = l.generation + (l.instance <> excluded.instance)::int
WHERE l.instance = excluded.instance OR l.expires_at < now()
  OR NOT EXISTS (
    SELECT FROM control_planes p JOIN pg_stat_activity a ON a.pid = p.backend AND a.backend_start = p.backend_start
    WHERE p.instance = l.instance)
RETURNING generation;

-- name: leader
-- Where the others reach the control plane that leads.
SELECT p.address FROM control_lease l JOIN control_planes p USING (instance) WHERE l.expires_at > now();

-- name: leads
-- Whether an instance has the lease, as it took it.
SELECT FROM control_lease WHERE instance = $1 AND generation = $2 AND expires_at > now();

-- name: resign
-- The lease is free if this control plane had it, and the others are told so once.
WITH resigned AS (UPDATE control_lease SET expires_at = '-infinity' WHERE instance = $1 AND expires_at > '-infinity' RETURNING true)
SELECT pg_notify($2, $3) FROM resigned;

-- name: leave
-- This control plane is gone, and the lease free if it had it.
WITH gone AS (DELETE FROM control_planes WHERE instance = $1),
left_behind AS (UPDATE employee_presence SET instance = '' WHERE instance = $1)
UPDATE control_lease SET expires_at = '-infinity' WHERE instance = $1;

-- name: tell
-- Tells all control planes.
SELECT pg_notify($1, told) FROM unnest($2::text[]) told;
