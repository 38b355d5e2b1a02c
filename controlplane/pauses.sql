-- name: pause_employee
-- Pauses an employee, and says whether it was not paused before.
UPDATE employees SET paused = true, paused_by = $2, pause_reason = $3, paused_at = now()
WHERE employee_id = $1 AND deleted_at IS NULL AND NOT paused RETURNING true;

-- name: pause_tenant
-- Pauses every employee of a tenant, and says whether they were not paused so before.
UPDATE tenants SET paused = true, paused_by = $2, pause_reason = $3, paused_at = now()
WHERE tenant_id = $1 AND NOT paused RETURNING true;

-- name: resume_employee
-- Takes back what a person paused.
UPDATE employees SET paused = false, paused_by = '', pause_reason = '', paused_at = NULL
WHERE employee_id = $1 AND paused RETURNING true;

-- name: resume_tenant
-- The same for a tenant.
UPDATE tenants SET paused = false, paused_by = '', pause_reason = '', paused_at = NULL
WHERE tenant_id = $1 AND paused RETURNING true;

-- name: grant_again
-- Grants the budget of the day, which is spent, once more; says whether it was spent.
SELECT reopen_budget(now(), $1, $2, 1);

-- name: pause_of
-- Why an employee is paused; NULL: it is not.
SELECT pause_of(now(), $1);

-- name: employees_of
-- The employees of a tenant, or one; what was due for them while they were paused is looked for now.
SELECT employee_id, pg_notify('empla_schedules', ''), pg_notify('empla_steps', '') FROM employees
WHERE deleted_at IS NULL AND (tenant_id = $1 OR employee_id = $2);

-- name: paused
-- Who is paused at a moment; NULL: now.
SELECT paused_employees(coalesce($1::timestamptz, now())) AS employee_id;
