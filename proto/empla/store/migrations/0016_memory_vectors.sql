-- What memories mean, as vectors beside them, and how often each was recalled. Each employee's vectors are looked through one by
-- one: an index over those of all employees would find too few of one whose are rare in it.
DO $$
BEGIN
  CREATE EXTENSION IF NOT EXISTS vector;
EXCEPTION WHEN feature_not_supported OR undefined_file OR insufficient_privilege THEN
  RAISE EXCEPTION 'this database needs the extension pgvector: install it on the server (on Debian postgresql-18-pgvector, or that of your version), and run CREATE EXTENSION vector in this database as a superuser (%)', SQLERRM;
END $$;

ALTER TABLE memories
  ADD COLUMN message_id       uuid, -- the message in which it was learnt
  ADD COLUMN recall_count     integer NOT NULL DEFAULT 0,
  ADD COLUMN last_recalled_at timestamptz,
  ADD UNIQUE (memory_id, employee_id, tenant_id);
GRANT UPDATE (recall_count, last_recalled_at) ON memories TO empla_employee;

CREATE TABLE memory_vectors (
  memory_id   uuid PRIMARY KEY,
  tenant_id   uuid NOT NULL,
  employee_id uuid NOT NULL,
  model       text NOT NULL, -- only vectors of one model can be compared
  embedding   vector(384) NOT NULL,
  FOREIGN KEY (memory_id, employee_id, tenant_id)
    REFERENCES memories (memory_id, employee_id, tenant_id) ON DELETE CASCADE
);
ALTER TABLE memory_vectors ALTER embedding SET STORAGE PLAIN; -- beside its row, which a search reads anyway
CREATE INDEX memory_vectors_by_model ON memory_vectors (employee_id, model);
ALTER TABLE memory_vectors ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON memory_vectors TO empla_employee USING (employee_id = current_employee());
GRANT SELECT, INSERT, UPDATE (model, embedding) ON memory_vectors TO empla_employee;
