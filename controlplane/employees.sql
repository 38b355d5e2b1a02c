-- name: ensure_tenant
-- The tenant of that name, made when it is not there.
INSERT INTO tenants (tenant_id, name) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET name = excluded.name
RETURNING tenant_id;

-- name: tenant
-- A tenant by name.
SELECT tenant_id FROM tenants WHERE name = $1;

-- name: create
-- A new employee with its epoch row, or nothing when the name is in use.
WITH created AS (
  INSERT INTO employees (employee_id, tenant_id, name, profile, autonomy, desired_state)
  VALUES ($1, $2, $3, $4, $5, $6)
  ON CONFLICT (tenant_id, name) WHERE deleted_at IS NULL DO NOTHING
  RETURNING employee_id, tenant_id
)
INSERT INTO employee_epochs (employee_id, tenant_id) SELECT employee_id, tenant_id FROM created RETURNING employee_id;

-- name: find
-- A live employee by tenant and name, or by id.
SELECT e.*, t.name AS tenant, p.epoch, p.process, p.launched_at, p.launcher
FROM employees e JOIN tenants t USING (tenant_id) JOIN employee_epochs p USING (employee_id)
WHERE e.deleted_at IS NULL AND ((e.tenant_id = $1 AND e.name = $2) OR e.employee_id = $3);

-- name: all
-- Every live employee of a tenant, or of all.
SELECT e.*, t.name AS tenant, p.epoch, p.process, p.launched_at, p.launcher
FROM employees e JOIN tenants t USING (tenant_id) JOIN employee_epochs p USING (employee_id)
WHERE e.deleted_at IS NULL AND ($1::uuid IS NULL OR e.tenant_id = $1) AND (e.name, e.employee_id) > ($2, $3)
ORDER BY e.name, e.employee_id LIMIT $4;

-- name: set_desired_state
-- What the reconciler works towards.
UPDATE employees SET desired_state = $2, updated_at = now() WHERE employee_id = $1 AND deleted_at IS NULL;

-- name: update
-- Replaces profile and autonomy where given.
UPDATE employees SET profile = coalesce($2, profile), autonomy = coalesce($3, autonomy), updated_at = now()
WHERE employee_id = $1 AND deleted_at IS NULL;

-- name: live_messages
-- How many messages of an employee have not ended.
SELECT count(*) FROM inbound_messages
WHERE employee_id = $1 AND ended_at IS NULL;

-- name: delete
-- Makes the name free; rows of its messages stay.
UPDATE employees SET deleted_at = now(), desired_state = 'stopped' WHERE employee_id = $1 AND deleted_at IS NULL;

-- name: launch
-- The next epoch, for a new process with a new credential. Waits for writes of the old epoch, refuses those that come later.
WITH fence AS (SELECT employee_id FROM employee_epochs WHERE employee_id = $1 FOR UPDATE)
UPDATE employee_epochs p
SET epoch = epoch + 1, credential_hash = $2, launcher = $3, process = NULL, launched_at = now(), ended_at = NULL
FROM fence WHERE p.employee_id = fence.employee_id
RETURNING epoch;

-- name: launched
-- How the launcher recognises the process of this epoch.
UPDATE employee_epochs SET process = $3 WHERE employee_id = $1 AND epoch = $2;

-- name: ended
-- The process of this epoch is gone.
UPDATE employee_epochs SET process = NULL, ended_at = now() WHERE employee_id = $1 AND epoch = $2;

-- name: credential
-- Which employee and epoch a credential belongs to, and the employee's present epoch.
SELECT employee_id, epoch, credential_hash FROM employee_epochs WHERE employee_id = $1;
