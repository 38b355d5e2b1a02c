-- What employees learn from their work, what they have in mind for now, and how what they remember stays small.

-- An episode fades: its strength is importance × recency × recall, and it may go when less than 0.05 is left. Recency is e^(-days / 30)
-- since it happened or was last recalled; each recall counts as much as the episode itself. Solved for the time, so that what is
-- due can be looked up. Immutable in truth: to add seconds depends on no time zone.
CREATE FUNCTION memory_fades_at(importance real, recalls integer, since timestamptz) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN since + make_interval(secs => 30 * 86400 * greatest(0, ln(greatest(importance, 0.01) * (1 + recalls) / 0.05)));

ALTER TABLE memories
  ADD COLUMN fades_at timestamptz GENERATED ALWAYS AS (
    CASE WHEN kind = 'episodic' THEN memory_fades_at(importance, recall_count, greatest(created_at, last_recalled_at)) END
  ) STORED,
  ADD COLUMN generalised boolean NOT NULL DEFAULT true; -- facts have been looked for in it; what is there already is let be
ALTER TABLE memories ALTER generalised SET DEFAULT false;
CREATE INDEX memories_fading ON memories (employee_id, fades_at) WHERE kind = 'episodic';
CREATE INDEX memories_new ON memories (employee_id, created_at) WHERE kind = 'episodic' AND NOT generalised;
GRANT UPDATE (generalised) ON memories TO empla_employee;

-- What a fact rests on that was found in several episodes. An episode is named by its source, for it may fade and the fact stay.
CREATE TABLE memory_evidence (
  memory_id   uuid NOT NULL,
  source      text NOT NULL,
  tenant_id   uuid NOT NULL,
  employee_id uuid NOT NULL,
  PRIMARY KEY (memory_id, source),
  FOREIGN KEY (memory_id, employee_id, tenant_id)
    REFERENCES memories (memory_id, employee_id, tenant_id) ON DELETE CASCADE
);
CREATE INDEX memory_evidence_by_source ON memory_evidence (employee_id, source);

-- How to do what was done again and again.
CREATE TABLE procedures (
  procedure_id uuid PRIMARY KEY,
  tenant_id    uuid NOT NULL,
  employee_id  uuid NOT NULL,
  trigger      text NOT NULL CHECK (length(trigger) BETWEEN 1 AND 200),
  steps        jsonb NOT NULL,           -- [{"action", "how"}]
  actions      text[] NOT NULL,          -- what was done each time, in order
  words        text[] NOT NULL,          -- what the requests had in common: a message that has most of them asks for the same
  runs         integer NOT NULL DEFAULT 0,
  successes    integer NOT NULL DEFAULT 0 CHECK (successes BETWEEN 0 AND runs),
  state        text NOT NULL CHECK (state IN ('learnt', 'promoted', 'demoted')),
  learnt_in    uuid[] NOT NULL,          -- the messages that it was learnt from, of the latest of them
  created_at   timestamptz NOT NULL DEFAULT now(),
  changed_at   timestamptz NOT NULL DEFAULT now(), -- when it came into its state
  last_run_at  timestamptz NOT NULL DEFAULT now(),
  FOREIGN KEY (employee_id, tenant_id) REFERENCES employees (employee_id, tenant_id)
);
CREATE INDEX procedures_by_employee ON procedures (employee_id);
CREATE TRIGGER legal_edge BEFORE UPDATE OF state ON procedures FOR EACH ROW
  WHEN (OLD.state <> 'learnt' AND NEW.state = 'learnt') EXECUTE FUNCTION refuse_edge('procedure');

-- How each part of a message was done and what came of it, for the last messages of an employee. Each counts once.
CREATE TABLE procedure_runs (
  unit_id      uuid NOT NULL,            -- the worker
  message_id   uuid NOT NULL,
  sequence     bigint NOT NULL,          -- of the message
  tenant_id    uuid NOT NULL,
  employee_id  uuid NOT NULL,
  request      text NOT NULL CHECK (length(request) <= 500), -- '': forgotten, or not to be learnt from
  actions      text[] NOT NULL,          -- the names of what was done, each time that another followed
  told         uuid[] NOT NULL,          -- the procedures that it was told with the message
  succeeded    boolean,                  -- NULL: what became of it says nothing
  ended_at     timestamptz NOT NULL,
  procedure_id uuid,                     -- that it counts for; one that is gone counts on, so that it is not learnt again
  tried        boolean NOT NULL DEFAULT false, -- a model found no procedure in it
  PRIMARY KEY (employee_id, unit_id),
  FOREIGN KEY (employee_id, tenant_id) REFERENCES employees (employee_id, tenant_id)
);
CREATE INDEX procedure_runs_by_age ON procedure_runs (employee_id, sequence);

-- What an employee has in mind of a conversation until it is done or over.
CREATE TABLE working_notes (
  note_id         uuid PRIMARY KEY,
  tenant_id       uuid NOT NULL,
  employee_id     uuid NOT NULL,
  conversation_id uuid NOT NULL,
  message_id      uuid NOT NULL,         -- in which it was noted
  content         text NOT NULL CHECK (length(content) BETWEEN 1 AND 500),
  noted_at        timestamptz NOT NULL DEFAULT now(),
  expires_at      timestamptz NOT NULL,
  CHECK (expires_at <= noted_at + interval '31 days'),
  FOREIGN KEY (message_id, employee_id, tenant_id)
    REFERENCES inbound_messages (message_id, employee_id, tenant_id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX working_notes_once ON working_notes (employee_id, conversation_id, md5(content));

DO $$
DECLARE name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['memory_evidence', 'procedures', 'procedure_runs', 'working_notes'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY own_rows ON %I TO empla_employee USING (employee_id = current_employee())', name);
  END LOOP;
END $$;
GRANT SELECT, INSERT ON memory_evidence TO empla_employee;
GRANT SELECT, INSERT, DELETE, UPDATE (runs, successes, state, changed_at, last_run_at) ON procedures TO empla_employee;
GRANT SELECT, INSERT, DELETE, UPDATE (procedure_id, tried) ON procedure_runs TO empla_employee;
GRANT SELECT, INSERT, DELETE, UPDATE (noted_at, expires_at) ON working_notes TO empla_employee;
