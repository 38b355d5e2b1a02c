-- name: see
-- What is seen now: new is a row, what is there goes on, and what was about to be over is not.
INSERT INTO alerts (alert_id, kind, tenant_id, employee_id, detail)
SELECT s.alert_id, s.kind, e.tenant_id, e.employee_id, left(s.detail, 1000)
FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[]) AS s (alert_id, kind, employee_id, detail)
LEFT JOIN employees e ON e.employee_id = s.employee_id
ORDER BY s.kind, s.employee_id -- of two control planes that see the same none waits for the other's other half
ON CONFLICT (kind, employee_id) WHERE cleared_at IS NULL
DO UPDATE SET detail = excluded.detail, gone_since = NULL
WHERE alerts.gone_since IS NOT NULL OR alerts.detail <> excluded.detail;

-- name: miss
-- What is not seen any more, but for that of employees who cannot be judged now ($3): it begins to be over, or is forgotten when it
-- never fired.
WITH missed AS (
  SELECT alert_id, fired_at FROM alerts a
  WHERE cleared_at IS NULL AND gone_since IS NULL AND (employee_id IS NULL OR NOT employee_id = ANY ($3::uuid[]))
    AND NOT EXISTS (SELECT FROM unnest($1::text[], $2::uuid[]) AS s (kind, employee_id)
      WHERE s.kind = a.kind AND s.employee_id IS NOT DISTINCT FROM a.employee_id)
), forgotten AS (
  DELETE FROM alerts a USING missed m WHERE a.alert_id = m.alert_id AND a.fired_at IS NULL
)
UPDATE alerts a SET gone_since = now() FROM missed m
WHERE a.alert_id = m.alert_id AND a.fired_at IS NOT NULL AND a.gone_since IS NULL;

-- name: fire
-- Fires what has lasted so many seconds, each once, together with what is to be told of it.
WITH fired AS (
  UPDATE alerts SET fired_at = now()
  WHERE fired_at IS NULL AND gone_since IS NULL AND since <= now() - make_interval(secs => $1) RETURNING *
), told AS (
  INSERT INTO alert_notices (notice_id, alert_id, tenant_id, event, target)
  SELECT gen_random_uuid(), alert_id, tenant_id, 'fired', target FROM fired CROSS JOIN unnest($2::text[]) AS target
)
SELECT f.*, e.name AS employee, t.name AS tenant
FROM fired f LEFT JOIN employees e USING (employee_id) LEFT JOIN tenants t ON t.tenant_id = f.tenant_id;

-- name: clear
-- Clears what has been gone so many seconds, each once, together with what is to be told of it.
WITH cleared AS (
  UPDATE alerts SET cleared_at = now()
  WHERE fired_at IS NOT NULL AND cleared_at IS NULL AND gone_since <= now() - make_interval(secs => $1) RETURNING *
), told AS (
  INSERT INTO alert_notices (notice_id, alert_id, tenant_id, event, target)
  SELECT gen_random_uuid(), alert_id, tenant_id, 'cleared', target FROM cleared CROSS JOIN unnest($2::text[]) AS target
)
SELECT c.*, e.name AS employee, t.name AS tenant
FROM cleared c LEFT JOIN employees e USING (employee_id) LEFT JOIN tenants t ON t.tenant_id = c.tenant_id;

-- name: clocks
-- The control planes that are there with a clock that is off by so many seconds or more.
SELECT address, skew FROM control_planes
WHERE abs(skew) > $1 AND seen_at > now() - make_interval(secs => $2) ORDER BY address;

-- name: open
-- How many of each kind are open.
SELECT kind, count(*) AS alerts FROM alerts
WHERE fired_at IS NOT NULL AND cleared_at IS NULL AND ($1::uuid IS NULL OR tenant_id = $1) GROUP BY kind;

-- name: page
-- What fired, of a tenant (NULL: all) and an employee (NULL: all): what is open first, the newest first.
SELECT a.*, e.name AS employee, t.name AS tenant
FROM alerts a LEFT JOIN employees e USING (employee_id) LEFT JOIN tenants t ON t.tenant_id = a.tenant_id
WHERE a.fired_at IS NOT NULL AND ($1::uuid IS NULL OR a.tenant_id = $1) AND ($2::uuid IS NULL OR a.employee_id = $2)
  AND (NOT $3 OR a.cleared_at IS NULL)
ORDER BY a.cleared_at IS NOT NULL, a.fired_at DESC, a.alert_id LIMIT $4 OFFSET $5;

-- name: claim
-- Takes what is to be told now for one more try; of an alert that it is cleared is told after that it fired. Nothing is told after
-- `$4` tries, or a day late.
WITH due AS (
  SELECT notice_id FROM alert_notices n
  WHERE delivered_at IS NULL AND next_at <= now() AND attempt < $4 AND target = ANY ($1::text[])
    AND created_at > now() - interval '1 day'
    AND NOT EXISTS (SELECT FROM alert_notices f WHERE f.alert_id = n.alert_id AND f.target = n.target AND f.event = 'fired'
      AND n.event = 'cleared' AND f.delivered_at IS NULL AND f.attempt < $4)
  ORDER BY next_at LIMIT $5 FOR UPDATE SKIP LOCKED
), taken AS (
  UPDATE alert_notices n SET attempt = n.attempt + 1, next_at = now() + make_interval(secs => least($3, $2 * 2 ^ n.attempt))
  FROM due WHERE n.notice_id = due.notice_id RETURNING n.*
)
SELECT n.notice_id, n.event, n.target, n.attempt, a.alert_id, a.kind, a.employee_id, a.detail, a.since, a.fired_at,
  CASE n.event WHEN 'cleared' THEN a.cleared_at END AS cleared_at, e.name AS employee, t.name AS tenant
FROM taken n JOIN alerts a USING (alert_id) LEFT JOIN employees e USING (employee_id) LEFT JOIN tenants t ON t.tenant_id = a.tenant_id;

-- name: delivered
-- It is told.
UPDATE alert_notices SET delivered_at = now() WHERE notice_id = $1;
