-- A channel that is deleted is `disabled_at` then: its rows stay, and its name is free. Whoever deletes one takes the row FOR UPDATE,
-- whoever stores a message of it FOR KEY SHARE.

ALTER TABLE channels DROP CONSTRAINT channels_tenant_id_name_key;
CREATE UNIQUE INDEX channels_by_name ON channels (tenant_id, name) WHERE disabled_at IS NULL;

-- A channel's rules, in the order in which they are tried.
CREATE FUNCTION routing_of(channel uuid) RETURNS jsonb LANGUAGE sql STABLE PARALLEL SAFE RETURN (
  SELECT coalesce(jsonb_agg(jsonb_build_object('rule_id', r.rule_id, 'channel_id', r.channel_id, 'position', r.position,
    'condition', r.condition, 'employee_id', r.employee_id, 'employee', e.name) ORDER BY r.position), '[]')
  FROM routing_rules r JOIN employees e USING (employee_id) WHERE r.channel_id = channel
);
