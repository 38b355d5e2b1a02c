-- name: set_tenant
-- What a tenant may spend on each day; NULL: whatever it wants.
UPDATE tenants SET day_micros = $2, day_tokens = $3 WHERE tenant_id = $1 RETURNING name;

-- name: employees_of
-- The employees of a tenant.
SELECT employee_id FROM employees WHERE tenant_id = $1 AND deleted_at IS NULL;

-- name: of_tenant
-- The budget of a tenant, and what is spent and held of today's.
SELECT t.name, t.day_micros, t.day_tokens, NULL::bigint AS message_micros, NULL::bigint AS message_tokens,
  today.day, b.micros, b.tokens, b.granted, b.spent_at, h.micros AS held_micros, h.tokens AS held_tokens
FROM tenants t CROSS JOIN (SELECT (now() AT TIME ZONE 'UTC')::date AS day) today
LEFT JOIN budget_days b ON b.owner_id = t.tenant_id AND b.day = today.day
CROSS JOIN LATERAL budget_held(now(), t.tenant_id, NULL, NULL, today.day) h
WHERE t.tenant_id = $1;

-- name: of_employee
-- The same of an employee.
SELECT e.name, e.day_micros, e.day_tokens, e.message_micros, e.message_tokens,
  today.day, b.micros, b.tokens, b.granted, b.spent_at, h.micros AS held_micros, h.tokens AS held_tokens
FROM employees e CROSS JOIN (SELECT (now() AT TIME ZONE 'UTC')::date AS day) today
LEFT JOIN budget_days b ON b.owner_id = e.employee_id AND b.day = today.day
CROSS JOIN LATERAL budget_held(now(), e.tenant_id, e.employee_id, NULL, today.day) h
WHERE e.employee_id = $1;

-- name: costs
-- What models cost by employee, model and day (UTC), the latest day first. `unpriced`: some of it has no price.
SELECT e.name, c.model, c.day, sum(c.tokens_in)::bigint AS tokens_in, sum(c.tokens_out)::bigint AS tokens_out,
  coalesce(sum(c.cost_micros), 0)::bigint AS cost_micros, bool_or(c.cost_micros IS NULL) AS unpriced
FROM (
  SELECT employee_id, tenant_id, model, (finished_at AT TIME ZONE 'UTC')::date AS day, tokens_in, tokens_out, cost_micros
  FROM step_attempts WHERE finished_at >= $3 AND finished_at < $4 AND model <> ''
  UNION ALL
  SELECT employee_id, tenant_id, model, (started_at AT TIME ZONE 'UTC')::date, tokens_in, tokens_out, cost_micros
  FROM cycles WHERE started_at >= $3 AND started_at < $4 AND model <> ''
) c JOIN employees e USING (employee_id)
WHERE ($1::uuid IS NULL OR c.tenant_id = $1) AND ($2::uuid IS NULL OR c.employee_id = $2)
GROUP BY e.name, e.employee_id, c.model, c.day ORDER BY c.day DESC, e.name, e.employee_id, c.model LIMIT 5000;
