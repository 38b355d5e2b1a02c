-- name: end_long
-- Ends the connections of employees whose transaction has lasted for over so many seconds, of those that this role may end, and
-- says whose they were. All of them are known before the first is ended: conditions are checked in any order.
WITH long AS MATERIALIZED (
  SELECT a.usename AS role, a.pid FROM pg_stat_activity a
  WHERE a.datname = current_database() AND starts_with(a.usename, 'empla_e_') AND pg_has_role(a.usesysid, 'USAGE')
    AND a.xact_start < now() - make_interval(secs => $1)
)
SELECT role FROM long WHERE pg_terminate_backend(pid);
