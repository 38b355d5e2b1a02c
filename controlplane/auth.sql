-- name: hold_tokens
-- One at a time makes a token the only one of its name.
LOCK TABLE operator_tokens IN SHARE ROW EXCLUSIVE MODE;

-- name: replace_token
-- Revokes the tokens of every tenant that have this name and another secret.
UPDATE operator_tokens SET revoked_at = now()
WHERE tenant_id IS NULL AND name = $1 AND secret_hash <> $2 AND revoked_at IS NULL;

-- name: ensure_token
-- Adds a token of every tenant unless its secret is known; whether it may be used.
INSERT INTO operator_tokens (token_id, name, secret_hash, scope) VALUES ($1, $2, $3, $4)
ON CONFLICT (secret_hash) DO UPDATE SET secret_hash = excluded.secret_hash RETURNING revoked_at IS NULL;

-- name: token
-- The token that is valid now, and for how long it will be.
SELECT token_id, name, scope, tenant_id, extract(epoch FROM expires_at - now())::float8 AS seconds FROM operator_tokens
WHERE secret_hash = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now());

-- name: revoked
-- Those of some tokens that are revoked, or are not there any more.
SELECT asked.token_id FROM unnest($1::uuid[]) AS asked (token_id) LEFT JOIN operator_tokens t USING (token_id)
WHERE t.token_id IS NULL OR t.revoked_at IS NOT NULL;
