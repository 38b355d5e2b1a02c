-- name: create
-- A new tenant, or nothing when the name is in use.
INSERT INTO tenants (tenant_id, name) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING RETURNING *;

-- name: page
-- A tenant, or all, by name.
SELECT * FROM tenants WHERE ($1::uuid IS NULL OR tenant_id = $1) AND name > $2 ORDER BY name LIMIT $3;
