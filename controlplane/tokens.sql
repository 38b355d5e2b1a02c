-- name: create
-- A new token, which ends no later than the one that makes it.
INSERT INTO operator_tokens (token_id, tenant_id, name, secret_hash, scope, expires_at)
VALUES ($1, $2, $3, $4, $5, least(
  CASE WHEN $6 > 0 THEN now() + $6 * interval '1 day' END, (SELECT expires_at FROM operator_tokens WHERE token_id = $7)));

-- name: one
-- A token that a tenant's operator, or one of all tenants, may know of.
SELECT o.*, coalesce(t.name, '') AS tenant FROM operator_tokens o LEFT JOIN tenants t USING (tenant_id)
WHERE o.token_id = $1 AND ($2::uuid IS NULL OR o.tenant_id = $2);

-- name: page
-- Tokens of a tenant, or all, the oldest first.
SELECT o.*, coalesce(t.name, '') AS tenant FROM operator_tokens o LEFT JOIN tenants t USING (tenant_id)
WHERE ($1::uuid IS NULL OR o.tenant_id = $1) AND ($2::uuid IS NULL OR o.token_id > $2)
  AND ($3 OR (o.revoked_at IS NULL AND (o.expires_at IS NULL OR o.expires_at > now())))
ORDER BY o.token_id LIMIT $4;

-- name: revoke
-- Revokes a token; nothing for one that is revoked.
UPDATE operator_tokens SET revoked_at = now() WHERE token_id = $1 AND revoked_at IS NULL RETURNING token_id;
