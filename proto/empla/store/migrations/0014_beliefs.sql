-- What an employee believes now, and every change of it with its reason: what was dropped is in the changes only.
CREATE TABLE beliefs (
  belief_id     uuid PRIMARY KEY,
  tenant_id     uuid NOT NULL,
  employee_id   uuid NOT NULL,
  subject_key   text NOT NULL CHECK (length(subject_key) <= 400), -- as they are compared
  predicate_key text NOT NULL CHECK (length(predicate_key) <= 400),
  subject       text NOT NULL CHECK (length(subject) BETWEEN 1 AND 200),
  predicate     text NOT NULL CHECK (length(predicate) BETWEEN 1 AND 200),
  object        text NOT NULL CHECK (length(object) BETWEEN 1 AND 1000),
  confidence    double precision NOT NULL CHECK (confidence BETWEEN 0 AND 1), -- as of supported_at; it decays from there
  importance    double precision NOT NULL CHECK (importance BETWEEN 0 AND 1),
  supported_at  timestamptz NOT NULL,
  promoted      boolean NOT NULL DEFAULT false, -- it is a semantic memory as well
  UNIQUE (employee_id, subject_key, predicate_key),
  FOREIGN KEY (employee_id, tenant_id) REFERENCES employees (employee_id, tenant_id)
);

CREATE TABLE belief_changes (
  change_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  belief_id   uuid NOT NULL,
  tenant_id   uuid NOT NULL,
  employee_id uuid NOT NULL,
  cycle_id    uuid NOT NULL,
  change      text NOT NULL CHECK (change IN ('formed', 'confirmed', 'revised', 'doubted', 'promoted', 'dropped')),
  subject     text NOT NULL,
  predicate   text NOT NULL,
  object      text NOT NULL,             -- after it, as the confidence is
  confidence  double precision NOT NULL,
  why         text NOT NULL,
  source      text NOT NULL DEFAULT '',  -- the event that led to it, such as message:<id>
  occurred_at timestamptz NOT NULL DEFAULT now(),
  FOREIGN KEY (employee_id, tenant_id) REFERENCES employees (employee_id, tenant_id)
);
CREATE INDEX belief_changes_by_belief ON belief_changes (employee_id, belief_id, change_id DESC);
CREATE INDEX belief_changes_by_source ON belief_changes (employee_id, source) WHERE source <> '';

-- What the cycle's own calls of a model took.
ALTER TABLE cycles
  ADD COLUMN model       text NOT NULL DEFAULT '',
  ADD COLUMN tokens_in   integer NOT NULL DEFAULT 0,
  ADD COLUMN tokens_out  integer NOT NULL DEFAULT 0,
  ADD COLUMN cost_micros bigint NOT NULL DEFAULT 0;

GRANT SELECT, INSERT, DELETE ON beliefs TO empla_employee;
GRANT UPDATE (object, confidence, importance, supported_at, promoted) ON beliefs TO empla_employee;
GRANT SELECT, INSERT ON belief_changes TO empla_employee;
GRANT UPDATE (model, tokens_in, tokens_out, cost_micros) ON cycles TO empla_employee;
ALTER TABLE beliefs ENABLE ROW LEVEL SECURITY;
ALTER TABLE belief_changes ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON beliefs TO empla_employee USING (employee_id = current_employee());
CREATE POLICY own_rows ON belief_changes TO empla_employee USING (employee_id = current_employee());
