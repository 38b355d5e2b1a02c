-- name: note
-- How some employees fail now, or that they are well again; times are told as seconds before and from now.
INSERT INTO employee_failures AS f (employee_id, tenant_id, restarts, failures, own, reason, ended_at, next_at)
SELECT e.employee_id, e.tenant_id, n.restarts, n.failures, n.own, left(n.reason, 1000), now() - make_interval(secs => n.age),
  now() + make_interval(secs => n.wait)
FROM unnest($1::uuid[], $2::integer[], $3::integer[], $4::integer[], $5::text[], $6::float8[], $7::float8[])
  AS n (employee_id, restarts, failures, own, reason, age, wait)
JOIN employees e USING (employee_id) ORDER BY e.employee_id
ON CONFLICT (employee_id) DO UPDATE SET restarts = excluded.restarts, failures = excluded.failures, own = excluded.own,
  reason = excluded.reason, ended_at = excluded.ended_at, next_at = excluded.next_at;

-- name: forgive
-- An operator wants something of the employee, or it has lived for a while: what failed before counts no longer.
UPDATE employee_failures SET failures = 0, own = 0, next_at = now() WHERE employee_id = $1 AND failures > 0;
