-- name: ensure_token
-- Adds a token of every tenant unless its secret is known, and revokes what had its name before.
WITH replaced AS (
  UPDATE operator_tokens SET revoked_at = now()
  WHERE tenant_id IS NULL AND name = $2 AND secret_hash <> $3 AND revoked_at IS NULL
)
INSERT INTO operator_tokens (token_id, name, secret_hash, scope) VALUES ($1, $2, $3, $4) ON CONFLICT (secret_hash) DO NOTHING;

-- name: token
-- The token that is valid now.
SELECT name, scope, tenant_id FROM operator_tokens
WHERE secret_hash = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now());
