-- name: tables
-- Every table with the columns that are written and not worked out.
SELECT c.relname AS name, array_agg(a.attname::text ORDER BY a.attnum) AS columns
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
GROUP BY c.relname ORDER BY c.relname;

-- name: references
-- Which table's rows refer to which other table's.
SELECT DISTINCT conrelid::regclass::text AS "from", confrelid::regclass::text AS "to"
FROM pg_constraint WHERE contype = 'f' AND connamespace = 'public'::regnamespace AND conrelid <> confrelid;

-- name: sequences
-- The columns that are numbered, and by what.
SELECT c.relname AS "table", a.attname AS "column", pg_get_serial_sequence(quote_ident(c.relname), a.attname) AS sequence
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attidentity <> '' ORDER BY 1, 2;

-- name: checksums
-- The migrations that the database has.
SELECT name, checksum FROM schema_migrations ORDER BY version;

-- name: employees
-- Who there is.
SELECT employee_id, name FROM employees WHERE deleted_at IS NULL ORDER BY name, employee_id;

-- name: has_schema
-- Whether this program has ever used the database.
SELECT to_regclass('schema_migrations') IS NOT NULL;

-- name: foreign_tables
-- Whether others use the database: it has tables, and not ours.
SELECT EXISTS (SELECT FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'f'))
  AND to_regclass('schema_migrations') IS NULL;

-- name: hold_tenants
-- Keeps out whoever else makes something of an empty database.
LOCK TABLE tenants IN ACCESS EXCLUSIVE MODE;

-- name: is_used
-- Whether the database holds anything: all that it can hold belongs to a tenant, but a control plane begins with its token.
SELECT EXISTS (SELECT FROM tenants) OR EXISTS (SELECT FROM operator_tokens);
