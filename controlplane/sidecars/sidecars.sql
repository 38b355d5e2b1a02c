-- name: launch
-- The tenant and the present launch of an employee.
SELECT tenant_id, epoch, launcher, process FROM employee_epochs WHERE employee_id = $1;

-- name: insert
-- A sidecar that is there, unless the launch that it is for is no longer the employee's: waits for a launch that begins.
WITH fence AS (SELECT employee_id FROM employee_epochs WHERE employee_id = $3 AND epoch = $4 FOR KEY SHARE)
INSERT INTO sidecars (sidecar_id, tenant_id, employee_id, epoch, kind, state, launcher, process, address, key, memory_bytes,
  cpus, idle_ttl_seconds, expires_at)
SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, to_timestamp($14::double precision) FROM fence
RETURNING sidecar_id;

-- name: lease
-- Its lease until then, unless the launch that it is for is no longer the employee's. Does not wait for the disk: if the
-- server dies and loses it, this control plane still knows of the lease, and a later one ends the sidecar early.
WITH fence AS (SELECT employee_id FROM employee_epochs WHERE employee_id = $2 AND epoch = $3 FOR KEY SHARE),
at_once AS (SELECT set_config('synchronous_commit', 'off', true))
UPDATE sidecars s SET state = 'leased', idle_ttl_seconds = $4, expires_at = to_timestamp($5::double precision)
FROM fence, at_once WHERE s.sidecar_id = $1 AND s.employee_id = fence.employee_id AND s.epoch = $3
RETURNING s.sidecar_id;

-- name: gone
-- Its process is gone for certain.
DELETE FROM sidecars WHERE sidecar_id = $1;

-- name: all
-- Every sidecar on record of one launcher, and whether it still is of its employee's present launch.
SELECT s.*, s.epoch = p.epoch AND e.deleted_at IS NULL AS present
FROM sidecars s JOIN employee_epochs p USING (employee_id) JOIN employees e USING (employee_id) WHERE s.launcher = $1;

-- name: list
-- Those of a tenant (NULL: of all) and an employee (NULL: of all), with their names, newest first.
SELECT s.*, e.name AS employee, t.name AS tenant
FROM sidecars s JOIN employees e USING (employee_id) JOIN tenants t ON t.tenant_id = s.tenant_id
WHERE ($1::uuid IS NULL OR s.tenant_id = $1) AND ($2::uuid IS NULL OR s.employee_id = $2)
ORDER BY s.created_at DESC, s.sidecar_id LIMIT $3;
