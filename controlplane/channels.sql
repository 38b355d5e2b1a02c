-- name: api_channel
-- The tenant's channel for the gRPC API, made when it is not there.
INSERT INTO channels (channel_id, tenant_id, kind, name) VALUES ($1, $2, 'api', 'api')
ON CONFLICT (tenant_id, name) WHERE disabled_at IS NULL DO UPDATE SET name = excluded.name
RETURNING channel_id;

-- name: own_channel
-- The tenant's channel for what its employees write to themselves, made when it is not there; nothing while somebody else makes it.
-- A tenant may have had a webhook of its name before there were such channels.
WITH known AS (
  SELECT channel_id FROM channels WHERE tenant_id = $2 AND kind = 'own'
), made AS (
  INSERT INTO channels (channel_id, tenant_id, kind, name)
  SELECT $1, $2, 'own', CASE WHEN EXISTS (SELECT FROM channels WHERE tenant_id = $2 AND name = 'own')
    THEN 'own-' || left($1::uuid::text, 13) ELSE 'own' END
  WHERE NOT EXISTS (SELECT FROM known)
  ON CONFLICT DO NOTHING RETURNING channel_id
)
SELECT channel_id FROM known UNION ALL SELECT channel_id FROM made;

-- name: create_channel
-- Registers a webhook.
INSERT INTO channels (channel_id, tenant_id, employee_id, kind, name, secret, callback_url)
VALUES ($1, $2, $3, 'webhook', $4, $5, $6);

-- name: webhook
-- A webhook that is in use, by the names in its path.
SELECT c.*, t.name AS tenant, e.name AS employee, routing_of(c.channel_id) AS rules
FROM channels c JOIN tenants t USING (tenant_id) LEFT JOIN employees e ON e.employee_id = c.employee_id
WHERE t.name = $1 AND c.name = $2 AND c.kind = 'webhook' AND c.disabled_at IS NULL;

-- name: channel_by_name_in
-- A channel of a tenant that is in use, by its name.
SELECT c.*, t.name AS tenant, e.name AS employee, routing_of(c.channel_id) AS rules
FROM channels c JOIN tenants t USING (tenant_id) LEFT JOIN employees e ON e.employee_id = c.employee_id
WHERE c.tenant_id = $1 AND c.name = $2 AND c.disabled_at IS NULL;

-- name: channels_of
-- Every channel of a tenant that is in use, but for that on which its employees write to themselves.
SELECT c.*, t.name AS tenant, e.name AS employee, routing_of(c.channel_id) AS rules
FROM channels c JOIN tenants t USING (tenant_id) LEFT JOIN employees e ON e.employee_id = c.employee_id
WHERE c.tenant_id = $1 AND c.kind <> 'own' AND c.disabled_at IS NULL ORDER BY c.name;
