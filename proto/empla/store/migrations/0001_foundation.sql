-- Tenants, employees, channels, the message pipeline, reviews, outbox, the loop's events and memories.
--
-- Every row has a tenant. Employees connect with a role of their own (empla_e_<32 hex digits of the employee id>), a member
-- of empla_employee, and see their own rows only. The control plane connects as the owner of these tables.
-- Timestamps are timestamptz; durations are milliseconds; costs are millionths of a US dollar.

DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'empla_employee') THEN
    CREATE ROLE empla_employee NOLOGIN;
  END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; -- another database of this server creates it at this moment
END $$;

DO $$ BEGIN
  EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
  EXECUTE format('GRANT CONNECT ON DATABASE %I TO empla_employee', current_database());
END $$;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO empla_employee;

-- Who the connection is: the employee whose role it uses, or NULL for the control plane. Derived from the role and not from
-- a setting, because an employee could change a setting.
CREATE FUNCTION current_employee() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE WHEN starts_with(current_user::text, 'empla_e_') THEN substr(current_user::text, 9)::uuid END;

-- Tenants, operators, employees

CREATE TABLE tenants (
  tenant_id  uuid PRIMARY KEY,
  name       text NOT NULL UNIQUE CHECK (name ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'),
  paused     boolean NOT NULL DEFAULT false,
  created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE operator_tokens (
  token_id     uuid PRIMARY KEY,
  tenant_id    uuid REFERENCES tenants ON DELETE CASCADE, -- NULL: every tenant
  name         text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
  secret_hash  bytea NOT NULL UNIQUE CHECK (length(secret_hash) = 32), -- SHA-256 of 256 random bits: no salt needed
  scope        text NOT NULL CHECK (scope IN ('read', 'operate', 'admin')),
  created_at   timestamptz NOT NULL DEFAULT now(),
  expires_at   timestamptz,
  revoked_at   timestamptz
);

CREATE TABLE audit_log (
  entry_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tenant_id   uuid,
  occurred_at timestamptz NOT NULL DEFAULT now(),
  actor       text NOT NULL,
  action      text NOT NULL,
  subject     text NOT NULL DEFAULT '',
  detail      jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX audit_log_by_tenant ON audit_log (tenant_id, entry_id DESC);

CREATE TABLE employees (
  employee_id   uuid PRIMARY KEY,
  tenant_id     uuid NOT NULL REFERENCES tenants,
  name          text NOT NULL CHECK (name ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'),
  profile       jsonb NOT NULL,
  autonomy      text NOT NULL DEFAULT 'supervised' CHECK (autonomy IN ('shadow', 'supervised', 'autonomous')),
  desired_state text NOT NULL DEFAULT 'stopped' CHECK (desired_state IN ('running', 'stopped')),
  paused        boolean NOT NULL DEFAULT false,
  created_at    timestamptz NOT NULL DEFAULT now(),
  updated_at    timestamptz NOT NULL DEFAULT now(),
  deleted_at    timestamptz,
  UNIQUE (employee_id, tenant_id)
);
CREATE UNIQUE INDEX employees_by_name ON employees (tenant_id, name) WHERE deleted_at IS NULL;

-- The fence. A launch takes the row FOR UPDATE and raises epoch; every write of an employee takes it FOR KEY SHARE and names
-- its epoch. PostgreSQL asks for UPDATE on some column before it grants a row lock: `held` is that column and means nothing.
CREATE TABLE employee_epochs (
  employee_id     uuid PRIMARY KEY REFERENCES employees ON DELETE CASCADE,
  tenant_id       uuid NOT NULL,
  epoch           bigint NOT NULL DEFAULT 0 CHECK (epoch >= 0),
  held            boolean NOT NULL DEFAULT false,
  credential_hash bytea CHECK (length(credential_hash) = 32),
  launcher        text,
  process         jsonb, -- how the launcher recognises the instance: pid and start time, container id, pod uid
  launched_at     timestamptz,
  ended_at        timestamptz,
  FOREIGN KEY (employee_id, tenant_id) REFERENCES employees (employee_id, tenant_id)
) WITH (fillfactor = 70);

-- Where messages come from

CREATE TABLE channels (
  channel_id   uuid PRIMARY KEY,
  tenant_id    uuid NOT NULL REFERENCES tenants,
  employee_id  uuid REFERENCES employees, -- NULL: routing rules choose
  kind         text NOT NULL CHECK (kind IN ('api', 'webhook', 'slack', 'teams', 'google_chat', 'email')),
  name         text NOT NULL CHECK (name ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'),
  secret       bytea,   -- what verifies incoming requests; never readable by an employee
  callback_url text,    -- where replies go; registered by an operator
  settings     jsonb NOT NULL DEFAULT '{}',
  created_at   timestamptz NOT NULL DEFAULT now(),
  disabled_at  timestamptz,
  UNIQUE (tenant_id, name)
);

CREATE TABLE routing_rules (
  rule_id     uuid PRIMARY KEY,
  tenant_id   uuid NOT NULL REFERENCES tenants,
  channel_id  uuid NOT NULL REFERENCES channels ON DELETE CASCADE,
  position    integer NOT NULL,
  condition   jsonb NOT NULL DEFAULT '{}',
  employee_id uuid NOT NULL REFERENCES employees,
  UNIQUE (channel_id, position)
);

CREATE TABLE conversations (
  conversation_id uuid PRIMARY KEY,
  tenant_id       uuid NOT NULL,
  employee_id     uuid NOT NULL,
  channel_id      uuid NOT NULL REFERENCES channels,
  external_id     text NOT NULL CHECK (length(external_id) <= 500), -- the channel's name for it: a thread, an address
  created_at      timestamptz NOT NULL DEFAULT now(),
  UNIQUE (channel_id, employee_id, external_id),
  FOREIGN KEY (employee_id, tenant_id) REFERENCES employees (employee_id, tenant_id)
);

-- State machines

-- Each machine's legal transitions, and which side may make them. `step` is '' where a state has none. Staying in the same
-- state and step (another attempt) is always legal.
CREATE TABLE state_edges (
  machine    text NOT NULL CHECK (machine IN ('message', 'worker', 'outbox', 'review')),
  from_state text NOT NULL,
  from_step  text NOT NULL DEFAULT '',
  to_state   text NOT NULL,
  to_step    text NOT NULL DEFAULT '',
  mover      text NOT NULL CHECK (mover IN ('employee', 'controlplane')),
  PRIMARY KEY (machine, from_state, from_step, to_state, to_step, mover)
);

-- The rows are compiled into is_legal_edge whenever they change: a function that looked them up would be a fifth of the cost of
-- a transition.
CREATE FUNCTION compile_edges() RETURNS trigger LANGUAGE plpgsql AS $compile$
BEGIN
  EXECUTE format($template$
    CREATE OR REPLACE FUNCTION public.is_legal_edge(what text, old_state text, old_step text, new_state text, new_step text)
    RETURNS boolean LANGUAGE plpgsql STABLE AS $$
    DECLARE
      mover text := CASE WHEN public.current_employee() IS NULL THEN 'controlplane' ELSE 'employee' END;
    BEGIN
      RETURN old_state = new_state AND old_step = new_step
        OR mover || ' ' || what || ' ' || old_state || ' ' || old_step || ' ' || new_state || ' ' || new_step = ANY (%L::text[]);
    END $$
  $template$, (SELECT array_agg(concat_ws(' ', mover, machine, from_state, from_step, to_state, to_step)) FROM public.state_edges));
  RETURN NULL;
END $compile$;
CREATE TRIGGER compile_edges AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON state_edges
  FOR EACH STATEMENT EXECUTE FUNCTION compile_edges();

INSERT INTO state_edges VALUES
  ('message', 'received',  'security_filter',   'analyzing', 'context_retrieval', 'employee'),
  ('message', 'received',  'security_filter',   'withheld',  '',                  'employee'),
  ('message', 'received',  'security_filter',   'collected', '',                  'employee'),
  ('message', 'received',  'security_filter',   'waiting',   'security_filter',   'employee'),
  ('message', 'received',  'security_filter',   'failed',    'security_filter',   'employee'),
  ('message', 'waiting',   'security_filter',   'analyzing', 'context_retrieval', 'employee'),
  ('message', 'waiting',   'security_filter',   'withheld',  '',                  'employee'),
  ('message', 'analyzing', 'context_retrieval', 'analyzing', 'classification',    'employee'),
  ('message', 'analyzing', 'context_retrieval', 'waiting',   'classification',    'employee'),
  ('message', 'analyzing', 'context_retrieval', 'failed',    'context_retrieval', 'employee'),
  ('message', 'analyzing', 'context_retrieval', 'withheld',  '',                  'employee'),
  ('message', 'analyzing', 'context_retrieval', 'collected', '',                  'employee'),
  ('message', 'analyzing', 'classification',    'working',   '',                  'employee'),
  ('message', 'analyzing', 'classification',    'waiting',   'classification',    'employee'),
  ('message', 'analyzing', 'classification',    'failed',    'classification',    'employee'),
  ('message', 'analyzing', 'classification',    'withheld',  '',                  'employee'),
  ('message', 'analyzing', 'classification',    'collected', '',                  'employee'),
  ('message', 'waiting',   'classification',    'working',   '',                  'employee'),
  ('message', 'waiting',   'classification',    'withheld',  '',                  'employee'),
  ('message', 'waiting',   'classification',    'failed',    'classification',    'employee'),
  ('message', 'working',   '',                  'merging',   'merge',             'employee'),
  ('message', 'working',   '',                  'waiting',   'work',              'employee'),
  ('message', 'working',   '',                  'withheld',  '',                  'employee'),
  ('message', 'working',   '',                  'collected', '',                  'employee'),
  ('message', 'waiting',   'work',              'merging',   'merge',             'employee'),
  ('message', 'waiting',   'work',              'withheld',  '',                  'employee'),
  ('message', 'merging',   'merge',             'sending',   'send',              'employee'),
  ('message', 'merging',   'merge',             'withheld',  '',                  'employee'),
  ('message', 'merging',   'merge',             'failed',    'merge',             'employee'),
  ('message', 'received',  'security_filter',   'failed',    'security_filter',   'controlplane'), -- the employee was deleted:
  ('message', 'waiting',   'security_filter',   'failed',    'security_filter',   'controlplane'), -- these eight
  ('message', 'analyzing', 'context_retrieval', 'failed',    'context_retrieval', 'controlplane'),
  ('message', 'analyzing', 'classification',    'failed',    'classification',    'controlplane'),
  ('message', 'waiting',   'classification',    'failed',    'classification',    'controlplane'),
  ('message', 'working',   '',                  'failed',    '',                  'controlplane'),
  ('message', 'waiting',   'work',              'failed',    'work',              'controlplane'),
  ('message', 'merging',   'merge',             'failed',    'merge',             'controlplane'),
  ('message', 'sending',   'send',              'answered',  '',                  'controlplane'),
  ('message', 'sending',   'send',              'withheld',  '',                  'controlplane'),
  ('message', 'sending',   'send',              'waiting',   'send',              'controlplane'),
  ('message', 'sending',   'send',              'failed',    'send',              'controlplane'),
  ('message', 'waiting',   'send',              'sending',   'send',              'controlplane'),
  ('message', 'waiting',   'send',              'answered',  '',                  'controlplane'),
  ('message', 'waiting',   'send',              'withheld',  '',                  'controlplane'),
  ('message', 'waiting',   'send',              'failed',    'send',              'controlplane'),
  ('worker', 'running', 'action_planning',  'running', 'draft_generation', 'employee'),
  ('worker', 'running', 'draft_generation', 'running', 'routing',          'employee'),
  ('worker', 'running', 'routing',          'done',    '',                 'employee'),
  ('worker', 'running', 'action_planning',  'waiting_for_input', 'action_planning',  'employee'),
  ('worker', 'running', 'draft_generation', 'waiting_for_input', 'draft_generation', 'employee'),
  ('worker', 'running', 'routing',          'waiting_for_input', 'routing',          'employee'),
  ('worker', 'running', 'action_planning',  'failed', 'action_planning',  'employee'),
  ('worker', 'running', 'draft_generation', 'failed', 'draft_generation', 'employee'),
  ('worker', 'running', 'routing',          'failed', 'routing',          'employee'),
  ('worker', 'waiting_for_input', 'action_planning',  'running', 'action_planning',  'employee'),
  ('worker', 'waiting_for_input', 'draft_generation', 'running', 'draft_generation', 'employee'),
  ('worker', 'waiting_for_input', 'routing',          'running', 'routing',          'employee'),
  ('worker', 'waiting_for_input', 'routing',          'done',    '',                 'employee'),
  ('worker', 'waiting_for_input', 'action_planning',  'failed', 'action_planning',  'employee'),
  ('worker', 'waiting_for_input', 'draft_generation', 'failed', 'draft_generation', 'employee'),
  ('worker', 'waiting_for_input', 'routing',          'failed', 'routing',          'employee'),
  ('worker', 'failed', 'action_planning',  'running', 'action_planning',  'employee'),
  ('worker', 'failed', 'draft_generation', 'running', 'draft_generation', 'employee'),
  ('worker', 'failed', 'routing',          'running', 'routing',          'employee'),
  ('outbox', 'queued',  '', 'sending',  '', 'controlplane'),
  ('outbox', 'queued',  '', 'held',     '', 'controlplane'),
  ('outbox', 'queued',  '', 'withheld', '', 'controlplane'),
  ('outbox', 'queued',  '', 'failed',   '', 'controlplane'),
  ('outbox', 'held',    '', 'queued',   '', 'controlplane'),
  ('outbox', 'held',    '', 'withheld', '', 'controlplane'),
  ('outbox', 'sending', '', 'sent',     '', 'controlplane'),
  ('outbox', 'sending', '', 'queued',   '', 'controlplane'),
  ('outbox', 'sending', '', 'failed',   '', 'controlplane'),
  ('outbox', 'sending', '', 'unknown_after_send', '', 'controlplane'),
  ('outbox', 'unknown_after_send', '', 'sent',    '', 'controlplane'),
  ('outbox', 'unknown_after_send', '', 'queued',  '', 'controlplane'),
  ('outbox', 'unknown_after_send', '', 'failed',  '', 'controlplane'),
  ('review', 'open', '', 'resolved', '', 'controlplane'),
  ('review', 'open', '', 'expired',  '', 'controlplane');

CREATE FUNCTION refuse_edge() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'illegal % transition', TG_ARGV[0] USING ERRCODE = 'EM001', DETAIL = to_jsonb(OLD)::text;
END $$;

-- The pipeline

CREATE TABLE inbound_messages (
  message_id       uuid PRIMARY KEY,
  tenant_id        uuid NOT NULL,
  employee_id      uuid NOT NULL,
  channel_id       uuid NOT NULL REFERENCES channels,
  conversation_id  uuid NOT NULL REFERENCES conversations,
  sequence         bigint GENERATED ALWAYS AS IDENTITY,
  event_id         text NOT NULL CHECK (length(event_id) BETWEEN 1 AND 500), -- the channel's name for this delivery
  sender           text NOT NULL CHECK (length(sender) <= 500),
  processing_state text NOT NULL DEFAULT 'received' CHECK (processing_state IN
    ('received', 'analyzing', 'working', 'merging', 'sending', 'waiting', 'answered', 'collected', 'withheld', 'failed')),
  step             text NOT NULL DEFAULT 'security_filter',
  attempt          integer NOT NULL DEFAULT 0,  -- of this step, every start counted
  failures         integer NOT NULL DEFAULT 0,  -- of this step, those that count towards its limit
  retry_count      integer NOT NULL DEFAULT 0,  -- of the whole message
  epoch            bigint,                      -- who works on it; NULL until it is claimed
  queued_at        timestamptz NOT NULL DEFAULT now(),
  started_at       timestamptz,                 -- NULL: the step waits to be started
  next_at          timestamptz,                 -- not before this time
  deadline_at      timestamptz,
  step_timings     jsonb NOT NULL DEFAULT '{}', -- milliseconds by step
  reason           text NOT NULL DEFAULT '',    -- why it was withheld, waits or failed
  trace_context    text NOT NULL DEFAULT '',    -- W3C traceparent
  received_at      timestamptz NOT NULL DEFAULT now(),
  ended_at         timestamptz,
  CHECK ((ended_at IS NOT NULL) = (processing_state IN ('answered', 'collected', 'withheld', 'failed'))),
  UNIQUE (tenant_id, channel_id, event_id),
  UNIQUE (message_id, employee_id, tenant_id),
  FOREIGN KEY (employee_id, tenant_id) REFERENCES employees (employee_id, tenant_id)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01, autovacuum_analyze_scale_factor = 0.02);
-- Live is what has no end yet. An index that read the state would be written anew at every transition: its column changes each time.
CREATE INDEX inbound_messages_live ON inbound_messages (employee_id, sequence) WHERE ended_at IS NULL;
CREATE INDEX inbound_messages_by_age ON inbound_messages (sequence DESC);
CREATE INDEX inbound_messages_by_employee ON inbound_messages (employee_id, sequence DESC);
CREATE INDEX inbound_messages_by_tenant ON inbound_messages (tenant_id, sequence DESC);
CREATE INDEX inbound_messages_by_conversation ON inbound_messages (conversation_id, sequence DESC);
CREATE TRIGGER legal_edge BEFORE UPDATE OF processing_state, step ON inbound_messages FOR EACH ROW
  WHEN (NOT is_legal_edge('message', OLD.processing_state, OLD.step, NEW.processing_state, NEW.step))
  EXECUTE FUNCTION refuse_edge('message');

-- Bodies live apart from the hot row, so that a change of state never rewrites them.
CREATE TABLE message_bodies (
  message_id  uuid PRIMARY KEY,
  tenant_id   uuid NOT NULL,
  employee_id uuid NOT NULL,
  body        text NOT NULL,
  attachments jsonb NOT NULL DEFAULT '[]',
  metadata    jsonb NOT NULL DEFAULT '{}',
  FOREIGN KEY (message_id, employee_id, tenant_id)
    REFERENCES inbound_messages (message_id, employee_id, tenant_id) ON DELETE CASCADE
);

CREATE TABLE message_workers (
  worker_id    uuid PRIMARY KEY,
  message_id   uuid NOT NULL,
  tenant_id    uuid NOT NULL,
  employee_id  uuid NOT NULL,
  intent_index integer NOT NULL CHECK (intent_index >= 0),
  intent       jsonb NOT NULL,
  state        text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'waiting_for_input', 'done', 'failed')),
  step         text NOT NULL DEFAULT 'action_planning',
  attempt      integer NOT NULL DEFAULT 0,
  failures     integer NOT NULL DEFAULT 0,
  retry_count  integer NOT NULL DEFAULT 0,
  epoch        bigint,
  queued_at    timestamptz NOT NULL DEFAULT now(),
  started_at   timestamptz,
  next_at      timestamptz,
  deadline_at  timestamptz,
  step_timings jsonb NOT NULL DEFAULT '{}',
  reason       text NOT NULL DEFAULT '',
  UNIQUE (message_id, intent_index),
  FOREIGN KEY (message_id, employee_id, tenant_id)
    REFERENCES inbound_messages (message_id, employee_id, tenant_id) ON DELETE CASCADE
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01, autovacuum_analyze_scale_factor = 0.02);
CREATE INDEX message_workers_live ON message_workers (employee_id) WHERE state IN ('running', 'waiting_for_input');
CREATE TRIGGER legal_edge BEFORE UPDATE OF state, step ON message_workers FOR EACH ROW
  WHEN (NOT is_legal_edge('worker', OLD.state, OLD.step, NEW.state, NEW.step))
  EXECUTE FUNCTION refuse_edge('worker');

-- One row for each attempt of each step. `unit_id` is the message, or the worker for steps of a worker. There is no foreign key
-- to the message: its check would be the largest part of a transition's cost. A row is written together with the move of its unit,
-- and readers take only those that carry the message's own employee.
CREATE TABLE step_attempts (
  unit_id     uuid NOT NULL,
  step        text NOT NULL,
  attempt     integer NOT NULL CHECK (attempt >= 1),
  message_id  uuid NOT NULL,
  tenant_id   uuid NOT NULL,
  employee_id uuid NOT NULL,
  stage       text NOT NULL CHECK (stage IN ('receive', 'analyze', 'work', 'merge', 'send')),
  epoch       bigint,
  queued_at   timestamptz NOT NULL,
  started_at  timestamptz NOT NULL,
  finished_at timestamptz NOT NULL DEFAULT now(),
  duration_ms double precision NOT NULL CHECK (duration_ms >= 0),
  outcome     text NOT NULL CHECK (outcome IN ('succeeded', 'failed', 'lost', 'drained', 'waiting', 'cancelled')),
  error_class text NOT NULL DEFAULT '',
  error       text NOT NULL DEFAULT '',
  model       text NOT NULL DEFAULT '',
  tokens_in   integer NOT NULL DEFAULT 0,
  tokens_out  integer NOT NULL DEFAULT 0,
  cost_micros bigint NOT NULL DEFAULT 0,
  output      jsonb, -- what the step produced; a retry or a successor reads it instead of doing it again
  span_id     text NOT NULL DEFAULT '',
  PRIMARY KEY (employee_id, unit_id, step, attempt) -- an employee that guesses another's unit cannot occupy its rows
);
CREATE INDEX step_attempts_by_message ON step_attempts (message_id, finished_at);

-- Each response of a model, committed before its calls run: a retry replays it instead of asking again.
CREATE TABLE model_responses (
  unit_id        uuid NOT NULL,
  response_index integer NOT NULL CHECK (response_index >= 0),
  message_id     uuid NOT NULL,
  tenant_id      uuid NOT NULL,
  employee_id    uuid NOT NULL,
  epoch          bigint NOT NULL,
  response       jsonb NOT NULL,
  created_at     timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (employee_id, unit_id, response_index),
  FOREIGN KEY (message_id, employee_id, tenant_id)
    REFERENCES inbound_messages (message_id, employee_id, tenant_id) ON DELETE CASCADE
);

-- Intent before, result after. `message_id` is NULL for what the proactive loop does.
CREATE TABLE effects (
  unit_id        uuid NOT NULL,
  response_index integer NOT NULL,
  call_index     integer NOT NULL,
  message_id     uuid,
  tenant_id      uuid NOT NULL,
  employee_id    uuid NOT NULL,
  epoch          bigint NOT NULL,
  capability     text NOT NULL,
  action         text NOT NULL,
  arguments      jsonb NOT NULL,
  repeatable     boolean NOT NULL,
  state          text NOT NULL DEFAULT 'intended' CHECK (state IN ('intended', 'succeeded', 'failed', 'ambiguous')),
  result         jsonb,
  error_class    text NOT NULL DEFAULT '',
  error          text NOT NULL DEFAULT '',
  started_at     timestamptz NOT NULL DEFAULT now(),
  finished_at    timestamptz,
  PRIMARY KEY (employee_id, unit_id, response_index, call_index),
  FOREIGN KEY (message_id, employee_id, tenant_id)
    REFERENCES inbound_messages (message_id, employee_id, tenant_id) ON DELETE CASCADE,
  FOREIGN KEY (employee_id, tenant_id) REFERENCES employees (employee_id, tenant_id)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01);
CREATE INDEX effects_by_message ON effects (message_id);

CREATE TABLE outbox (
  outbox_id       uuid PRIMARY KEY,
  tenant_id       uuid NOT NULL,
  employee_id     uuid NOT NULL,
  message_id      uuid,          -- what it answers; NULL: the employee writes first
  conversation_id uuid REFERENCES conversations,
  kind            text NOT NULL CHECK (kind IN ('reply', 'follow_up', 'notice', 'proactive')),
  part            integer NOT NULL DEFAULT 0,
  body            text NOT NULL,
  attachments     jsonb NOT NULL DEFAULT '[]',
  recipient       jsonb,         -- NULL: whoever sent the message it answers
  proposal        text NOT NULL DEFAULT 'send' CHECK (proposal IN ('send', 'review')), -- what routing proposes
  state           text NOT NULL DEFAULT 'queued' CHECK (state IN
    ('queued', 'held', 'sending', 'sent', 'withheld', 'unknown_after_send', 'failed')),
  epoch           bigint NOT NULL,
  attempt         integer NOT NULL DEFAULT 0,
  claimed_by      text,
  next_at         timestamptz,
  queued_at       timestamptz NOT NULL DEFAULT now(),
  started_at      timestamptz,
  ended_at        timestamptz,
  receipt         jsonb,
  reason          text NOT NULL DEFAULT '',
  FOREIGN KEY (message_id, employee_id, tenant_id)
    REFERENCES inbound_messages (message_id, employee_id, tenant_id) ON DELETE CASCADE,
  FOREIGN KEY (employee_id, tenant_id) REFERENCES employees (employee_id, tenant_id)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01);
CREATE UNIQUE INDEX outbox_once ON outbox (message_id, kind, part) WHERE message_id IS NOT NULL;
CREATE INDEX outbox_live ON outbox (next_at, queued_at) WHERE state IN ('queued', 'sending');
CREATE TRIGGER legal_edge BEFORE UPDATE OF state ON outbox FOR EACH ROW
  WHEN (NOT is_legal_edge('outbox', OLD.state, '', NEW.state, '')) EXECUTE FUNCTION refuse_edge('outbox');

-- The verification queue.
CREATE TABLE reviews (
  review_id   uuid PRIMARY KEY,
  tenant_id   uuid NOT NULL,
  employee_id uuid NOT NULL,
  message_id  uuid,
  worker_id   uuid REFERENCES message_workers ON DELETE CASCADE,
  outbox_id   uuid REFERENCES outbox ON DELETE CASCADE,
  kind        text NOT NULL CHECK (kind IN
    ('classification', 'quarantine', 'needs_manual_intervention', 'approval', 'question', 'draft', 'unknown_after_send')),
  state       text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'resolved', 'expired')),
  reason      text NOT NULL DEFAULT '',
  payload     jsonb NOT NULL DEFAULT '{}',
  decision    jsonb,
  resolved_by text,
  created_at  timestamptz NOT NULL DEFAULT now(),
  expires_at  timestamptz,
  resolved_at timestamptz,
  FOREIGN KEY (message_id, employee_id, tenant_id)
    REFERENCES inbound_messages (message_id, employee_id, tenant_id) ON DELETE CASCADE,
  FOREIGN KEY (employee_id, tenant_id) REFERENCES employees (employee_id, tenant_id)
);
CREATE INDEX reviews_open ON reviews (tenant_id, created_at) WHERE state = 'open';
CREATE INDEX reviews_by_message ON reviews (message_id);
CREATE TRIGGER legal_edge BEFORE UPDATE OF state ON reviews FOR EACH ROW
  WHEN (NOT is_legal_edge('review', OLD.state, '', NEW.state, '')) EXECUTE FUNCTION refuse_edge('review');

-- What people answered to a unit that waits. The key makes one question take one answer.
CREATE TABLE unit_answers (
  unit_id      uuid NOT NULL,
  question_key text NOT NULL,
  message_id   uuid NOT NULL,
  tenant_id    uuid NOT NULL,
  employee_id  uuid NOT NULL,
  answer       jsonb NOT NULL,
  answered_by  text NOT NULL,
  answered_at  timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (unit_id, question_key),
  FOREIGN KEY (message_id, employee_id, tenant_id)
    REFERENCES inbound_messages (message_id, employee_id, tenant_id) ON DELETE CASCADE
);

-- The proactive loop and memory

CREATE TABLE employee_events (
  event_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tenant_id   uuid NOT NULL,
  employee_id uuid NOT NULL,
  kind        text NOT NULL,
  payload     jsonb NOT NULL DEFAULT '{}',
  occurred_at timestamptz NOT NULL DEFAULT now(),
  cycle_id    uuid, -- the cycle that dealt with it
  FOREIGN KEY (employee_id, tenant_id) REFERENCES employees (employee_id, tenant_id)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01);
CREATE INDEX employee_events_new ON employee_events (employee_id, event_id) WHERE cycle_id IS NULL;

CREATE TABLE cycles (
  cycle_id    uuid PRIMARY KEY,
  tenant_id   uuid NOT NULL,
  employee_id uuid NOT NULL,
  epoch       bigint NOT NULL,
  phase       text NOT NULL CHECK (phase IN ('perceive', 'think', 'act', 'done')),
  outcome     text NOT NULL DEFAULT '' CHECK (outcome IN ('', 'acted', 'nothing_to_do', 'failed', 'lost')),
  perceived   jsonb NOT NULL DEFAULT '[]',
  intention   jsonb,
  error       text NOT NULL DEFAULT '',
  started_at  timestamptz NOT NULL DEFAULT now(),
  finished_at timestamptz,
  FOREIGN KEY (employee_id, tenant_id) REFERENCES employees (employee_id, tenant_id)
);
CREATE INDEX cycles_by_employee ON cycles (employee_id, started_at DESC);

CREATE TABLE memories (
  memory_id   uuid PRIMARY KEY,
  tenant_id   uuid NOT NULL,
  employee_id uuid NOT NULL,
  kind        text NOT NULL CHECK (kind IN ('episodic', 'semantic', 'procedural', 'working')),
  content     text NOT NULL CHECK (length(content) BETWEEN 1 AND 20000),
  source      text NOT NULL DEFAULT '', -- what it was learnt from, such as message:<id>
  importance  real NOT NULL DEFAULT 0.5 CHECK (importance BETWEEN 0 AND 1),
  created_at  timestamptz NOT NULL DEFAULT now(),
  words       tsvector GENERATED ALWAYS AS (to_tsvector('english', content)) STORED,
  FOREIGN KEY (employee_id, tenant_id) REFERENCES employees (employee_id, tenant_id)
);
CREATE INDEX memories_by_words ON memories USING gin (words);
CREATE INDEX memories_by_age ON memories (employee_id, created_at DESC);
CREATE UNIQUE INDEX memories_once ON memories (employee_id, source, kind, md5(content)) WHERE source <> '';

-- What an employee may do

GRANT SELECT ON state_edges, conversations, inbound_messages, message_bodies, message_workers, step_attempts, model_responses,
  effects, outbox, reviews, unit_answers, employee_events, cycles, memories TO empla_employee;
GRANT SELECT (employee_id, tenant_id, epoch), UPDATE (held) ON employee_epochs TO empla_employee;
GRANT UPDATE (processing_state, step, attempt, failures, retry_count, epoch, queued_at, started_at, next_at, deadline_at,
  step_timings, reason, ended_at) ON inbound_messages TO empla_employee;
GRANT INSERT ON message_workers, step_attempts, model_responses, effects, employee_events, cycles, memories TO empla_employee;
GRANT UPDATE (state, step, attempt, failures, retry_count, epoch, queued_at, started_at, next_at, deadline_at, step_timings,
  reason) ON message_workers TO empla_employee;
GRANT UPDATE (state, result, error_class, error, finished_at, epoch) ON effects TO empla_employee;
GRANT UPDATE (cycle_id) ON employee_events TO empla_employee;
GRANT UPDATE (phase, outcome, perceived, intention, error, finished_at) ON cycles TO empla_employee;
GRANT UPDATE (kind, content, importance), DELETE ON memories TO empla_employee;
-- Only what routing proposes: state, receipt and recipient of a row belong to the Sender.
GRANT INSERT (outbox_id, tenant_id, employee_id, message_id, conversation_id, kind, part, body, attachments, proposal, epoch)
  ON outbox TO empla_employee;
GRANT INSERT (review_id, tenant_id, employee_id, message_id, worker_id, kind, reason, payload, expires_at)
  ON reviews TO empla_employee;

DO $$
DECLARE name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['employee_epochs', 'conversations', 'inbound_messages', 'message_bodies', 'message_workers',
    'step_attempts', 'model_responses', 'effects', 'outbox', 'reviews', 'unit_answers', 'employee_events', 'cycles', 'memories']
  LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY own_rows ON %I TO empla_employee USING (employee_id = current_employee())', name);
  END LOOP;
END $$;
-- The rest has no grant for employees; row security makes a grant given by mistake show nothing.
DO $$
DECLARE name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['tenants', 'operator_tokens', 'audit_log', 'employees', 'channels', 'routing_rules']
  LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
  END LOOP;
END $$;
