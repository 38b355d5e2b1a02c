-- name: record
-- Who did what, and with which token.
INSERT INTO audit_log (tenant_id, actor, token_id, action, subject, detail) VALUES ($1, $2, $3, $4, $5, $6);

-- name: page
-- Entries of a tenant, or of all, the newest first.
SELECT a.*, coalesce(t.name, '') AS tenant FROM audit_log a LEFT JOIN tenants t USING (tenant_id)
WHERE ($1::uuid IS NULL OR a.tenant_id = $1) AND ($2::bigint IS NULL OR a.entry_id < $2)
ORDER BY a.entry_id DESC LIMIT $3;
