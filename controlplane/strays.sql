-- name: end_stray
-- Ends the connections of employees whose transaction has lasted for over $1 seconds, or for over $2 while somebody has waited as long
-- for what it locks, or while more than the share $3 of the queue of notifications is full: a listener in a transaction reads none of
-- them. Of those only that this role may end; says whose they were, and why. Who waits too is let be: it goes on when those it waits for
-- have gone. All of them are known before the first is ended: conditions are checked in any order.
WITH waiting AS MATERIALIZED (
  SELECT pid, waitstart FROM pg_locks WHERE NOT granted
), holding AS MATERIALIZED ( -- the look for each of them stops all locking for a moment
  SELECT unnest(pg_blocking_pids(pid)) AS pid
  FROM (SELECT pid FROM waiting WHERE waitstart < now() - make_interval(secs => $2) ORDER BY waitstart LIMIT 100) longest
), stray AS MATERIALIZED (
  SELECT a.usename AS role, a.pid, CASE
    WHEN a.xact_start < now() - make_interval(secs => $1) THEN 'it may hold up others'
    WHEN a.pid IN (SELECT pid FROM holding) AND a.pid NOT IN (SELECT pid FROM waiting) THEN 'others wait for what it locks'
    WHEN pg_notification_queue_usage() > $3 THEN 'notifications pile up'
  END AS why
  FROM pg_stat_activity a
  WHERE a.datname = current_database() AND starts_with(a.usename, 'empla_e_') AND pg_has_role(a.usesysid, 'USAGE')
    AND a.xact_start < now() - make_interval(secs => least($1, $2))
)
SELECT role, why FROM stray WHERE CASE WHEN why IS NOT NULL THEN pg_terminate_backend(pid) END;
