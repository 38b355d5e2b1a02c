-- name: hold_channel
-- A channel in use of that tenant (NULL: of any), locked: rules are made one after the other.
SELECT tenant_id, kind FROM channels
WHERE channel_id = $1 AND ($2::uuid IS NULL OR tenant_id = $2) AND disabled_at IS NULL AND kind <> 'own' FOR NO KEY UPDATE;

-- name: rules_of
-- The rules of a channel in use of that tenant (NULL: of any).
SELECT routing_of(channel_id) AS rules FROM channels
WHERE channel_id = $1 AND ($2::uuid IS NULL OR tenant_id = $2) AND disabled_at IS NULL AND kind <> 'own';

-- name: create
-- A rule at a position that is free.
INSERT INTO routing_rules (rule_id, tenant_id, channel_id, position, condition, employee_id) VALUES ($1, $2, $3, $4, $5, $6);

-- name: delete
-- Removes a rule of that tenant (NULL: of any).
DELETE FROM routing_rules WHERE rule_id = $1 AND ($2::uuid IS NULL OR tenant_id = $2)
RETURNING tenant_id, channel_id, position;
