-- name: tell
-- Where employees are attached, as one control plane tells of its own; a later launch or sign of life is better known elsewhere.
INSERT INTO employee_presence AS p (employee_id, tenant_id, epoch, instance, build, heartbeat, seen_at)
SELECT e.employee_id, e.tenant_id, t.epoch, $1, t.build, t.heartbeat, now() - make_interval(secs => t.age)
FROM unnest($2::uuid[], $3::bigint[], $4::text[], $5::bytea[], $6::double precision[]) AS t (employee_id, epoch, build, heartbeat, age)
JOIN employees e USING (employee_id) ORDER BY e.employee_id
ON CONFLICT (employee_id) DO UPDATE SET epoch = excluded.epoch, instance = excluded.instance, build = excluded.build,
  heartbeat = excluded.heartbeat, seen_at = excluded.seen_at
WHERE (excluded.epoch, excluded.seen_at) >= (p.epoch, p.seen_at);

-- name: gone
-- All that one control plane told of and does not have any more are attached nowhere; when they were heard last stays on record.
UPDATE employee_presence SET instance = '' WHERE instance = $1 AND NOT employee_id = ANY ($2::uuid[]);

-- name: elsewhere
-- Who is attached to other control planes, as their last signs of life within $2 seconds say: one that cannot say that it is there
-- itself may well have them still. Its address, if it was seen within $3 seconds. With those who are attached nowhere any more.
SELECT p.employee_id, p.instance <> '' AS attached, p.epoch, p.build, p.heartbeat, p.seen_at, c.address, extract(epoch FROM now() - p.seen_at)::float8 AS age
FROM employee_presence p
LEFT JOIN control_planes c ON c.instance = p.instance AND c.seen_at > now() - make_interval(secs => $3)
WHERE p.instance <> $1 AND p.seen_at > now() - make_interval(secs => $2);
