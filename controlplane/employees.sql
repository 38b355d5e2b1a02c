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
SELECT e.*, t.name AS tenant, p.epoch, p.launched_at, p.attached_at, p.launcher, p.process, p.draining,
  pause_of(now(), e.employee_id) AS pause,
  f.restarts, f.failures, f.own, f.reason, f.ended_at, f.next_at, extract(epoch FROM f.next_at - now())::float8 AS wait,
  coalesce(e.day_micros, e.message_micros, t.day_micros) IS NOT NULL AS limits_dollars,
  coalesce(e.day_tokens, e.message_tokens, t.day_tokens) IS NOT NULL AS limits_tokens
FROM employees e JOIN tenants t USING (tenant_id) JOIN employee_epochs p USING (employee_id)
  LEFT JOIN employee_failures f USING (employee_id)
WHERE e.deleted_at IS NULL AND ((e.tenant_id = $1 AND e.name = $2) OR e.employee_id = $3);

-- name: names_like
-- Names of live employees of a tenant that are about as long as one, those first that begin like it; few enough to compare each.
SELECT name FROM employees WHERE tenant_id = $1 AND deleted_at IS NULL AND abs(length(name) - length($2)) <= 3
ORDER BY left(name, 1) <> left($2, 1), name LIMIT 200;

-- name: all
-- Every live employee of a tenant, or of all.
SELECT e.*, t.name AS tenant, p.epoch, p.launched_at, p.attached_at, p.launcher, p.process, p.draining,
  pause_of(now(), e.employee_id) AS pause,
  f.restarts, f.failures, f.own, f.reason, f.ended_at, f.next_at, extract(epoch FROM f.next_at - now())::float8 AS wait,
  coalesce(e.day_micros, e.message_micros, t.day_micros) IS NOT NULL AS limits_dollars,
  coalesce(e.day_tokens, e.message_tokens, t.day_tokens) IS NOT NULL AS limits_tokens
FROM employees e JOIN tenants t USING (tenant_id) JOIN employee_epochs p USING (employee_id)
  LEFT JOIN employee_failures f USING (employee_id)
WHERE e.deleted_at IS NULL AND ($1::uuid IS NULL OR e.tenant_id = $1) AND (e.name, e.employee_id) > ($2, $3)
ORDER BY e.name, e.employee_id LIMIT $4;

-- name: set_desired_state
-- What the reconciler works towards.
UPDATE employees SET desired_state = $2, updated_at = now() WHERE employee_id = $1 AND deleted_at IS NULL
RETURNING tenant_id, name;

-- name: hold_profile
-- The profile that is to be replaced; nobody else replaces it meanwhile. The epoch's lock was taken before: the order of everybody.
SELECT tenant_id, profile, autonomy FROM employees WHERE employee_id = $1 AND deleted_at IS NULL FOR NO KEY UPDATE;

-- name: update
-- Replaces profile and autonomy where given, and in the profile what further messages mean.
UPDATE employees SET profile = coalesce($2, profile)
  || CASE WHEN $4 = '' THEN '{}'::jsonb ELSE jsonb_build_object('when_busy', $4::text) END, autonomy = coalesce($3, autonomy), updated_at = now()
WHERE employee_id = $1 AND deleted_at IS NULL RETURNING tenant_id, name, profile, autonomy;

-- name: end_schedules
-- Ends the schedules of an employee, paused ones too.
UPDATE schedules SET state = 'ended', reason = $2 WHERE employee_id = $1 AND state <> 'ended';

-- name: hold_outbox
-- Second lock of a deletion, after that of the launch: waits for the Sender's writes. The order of the three is that of everybody
-- who takes two of them.
SELECT FROM outbox WHERE employee_id = $1 AND state IN ('queued', 'held', 'sending') ORDER BY outbox_id FOR UPDATE;

-- name: hold_employee
-- Third lock: waits for messages that are being stored and keeps out later ones. Nothing: the employee is deleted.
SELECT tenant_id, name FROM employees WHERE employee_id = $1 AND deleted_at IS NULL FOR UPDATE;

-- name: live_messages
-- How many messages of an employee have not ended.
SELECT count(*) FROM inbound_messages
WHERE employee_id = $1 AND ended_at IS NULL;

-- name: supersede
-- Refuses whatever the employee's process still writes; it stops itself.
UPDATE employee_epochs SET epoch = epoch + 1, credential_hash = NULL WHERE employee_id = $1;

-- name: withhold_outbox
-- Nothing that was not begun is sent any more, except notices: their senders are owed them.
UPDATE outbox SET state = 'withheld', reason = $2, ended_at = now()
WHERE employee_id = $1 AND state IN ('queued', 'held') AND kind <> 'notice';

-- name: end_messages
-- Fails every live message but those whose reply is on its way: the Sender ends them.
UPDATE inbound_messages m SET processing_state = 'failed', reason = $2, ended_at = now(), started_at = NULL, next_at = NULL
WHERE employee_id = $1 AND ended_at IS NULL AND NOT EXISTS (
  SELECT FROM outbox o WHERE o.message_id = m.message_id AND o.state = 'sending' AND m.processing_state = 'sending')
RETURNING message_id;

-- name: expire_reviews
-- Nobody is left to go on from a decision. Whether an unknown sending arrived, and what failed before, people still want to settle.
UPDATE reviews r SET state = 'expired', resolved_at = now()
WHERE employee_id = $1 AND state = 'open' AND kind <> 'unknown_after_send'
  AND (message_id IS NULL OR message_id = ANY ($2::uuid[]));

-- name: open_review
-- One review for the messages that a deletion ended, which it names: somebody may still want to tell their senders.
INSERT INTO reviews (review_id, tenant_id, employee_id, kind, reason, payload)
SELECT $1, m.tenant_id, m.employee_id, 'needs_manual_intervention', format('%s with %s of its messages unanswered', $3::text, count(*)),
  jsonb_build_object('messages', jsonb_agg(jsonb_build_object(
    'message_id', m.message_id, 'sender', m.sender, 'text', left(b.body, 200)) ORDER BY m.sequence))
FROM inbound_messages m JOIN message_bodies b USING (message_id) WHERE m.message_id = ANY ($2::uuid[])
GROUP BY m.tenant_id, m.employee_id;

-- name: delete
-- Makes the name free; rows of its messages stay.
UPDATE employees SET deleted_at = now(), desired_state = 'stopped' WHERE employee_id = $1 AND deleted_at IS NULL;

-- name: left_roles
-- Deleted employees whose database role is still there: their deletion was interrupted after its commit.
SELECT e.employee_id FROM employees e JOIN pg_roles r ON r.rolname = 'empla_e_' || replace(e.employee_id::text, '-', '')
WHERE e.deleted_at IS NOT NULL;

-- name: launch
-- The next epoch, for a new process with a new credential. Waits for writes of the old epoch, refuses those that come later.
WITH fence AS (SELECT employee_id FROM employee_epochs WHERE employee_id = $1 FOR UPDATE)
UPDATE employee_epochs p
SET epoch = epoch + 1, credential_hash = $2, launcher = $3, process = NULL, launched_at = now(), attached_at = NULL, ended_at = NULL,
  draining = NULL
FROM fence WHERE p.employee_id = fence.employee_id
RETURNING epoch;

-- name: launched
-- How the launcher recognises the process of this epoch.
UPDATE employee_epochs SET process = $3 WHERE employee_id = $1 AND epoch = $2;

-- name: attached
-- The process of this epoch is there; a later stream of it changes nothing.
UPDATE employee_epochs SET attached_at = now() WHERE employee_id = $1 AND epoch = $2 AND attached_at IS NULL;

-- name: none_left
-- No process of an employee that is deleted is there any more, of no epoch.
UPDATE employee_epochs SET process = NULL, credential_hash = NULL, ended_at = now(), draining = NULL WHERE employee_id = $1;

-- name: ended
-- The process of this epoch is gone, and whoever has its credential from it has nothing. Whether the epoch is the present one.
UPDATE employee_epochs SET process = NULL, credential_hash = NULL, ended_at = now(), draining = NULL
WHERE employee_id = $1 AND epoch = $2 RETURNING true;

-- name: credential
-- Which employee and epoch a credential belongs to, and the employee's present epoch.
SELECT employee_id, epoch, credential_hash FROM employee_epochs WHERE employee_id = $1;
