-- Sub-agents: what a worker has had done by others of its kind, side by side, each with a budget of its own.
--
-- A sub-agent is no unit of the pipeline: it lives within one call of its worker, whose retries, waiting and end are its own as
-- well. Its id stands as the unit of its responses and effects. It has an outcome once, and until then it is gone on with.

CREATE TABLE sub_agents (
  sub_agent_id   uuid NOT NULL,
  worker_id      uuid NOT NULL,
  response_index integer NOT NULL CHECK (response_index >= 0), -- the call of the worker that it is for
  call_index     integer NOT NULL CHECK (call_index >= 0),
  task_index     integer NOT NULL CHECK (task_index BETWEEN 0 AND 7),
  message_id     uuid NOT NULL,
  tenant_id      uuid NOT NULL,
  employee_id    uuid NOT NULL,
  epoch          bigint NOT NULL,
  instruction    text NOT NULL CHECK (length(instruction) BETWEEN 1 AND 8000),
  worked_ms      double precision NOT NULL DEFAULT 0, -- until its last response; waiting for a person is no work
  responses      integer NOT NULL DEFAULT 0,
  calls          integer NOT NULL DEFAULT 0,
  model          text NOT NULL DEFAULT '',
  tokens_in      integer NOT NULL DEFAULT 0,
  tokens_out     integer NOT NULL DEFAULT 0,
  cost_micros    bigint DEFAULT 0,                    -- NULL: of a model without a price
  outcome        text CHECK (outcome IN ('answered', 'out_of_budget', 'out_of_time', 'failed', 'cancelled')),
  reason         text NOT NULL DEFAULT '' CHECK (length(reason) <= 1000),
  answer         text NOT NULL DEFAULT '',            -- what there is of it, whatever the outcome
  started_at     timestamptz NOT NULL DEFAULT now(),
  finished_at    timestamptz,
  PRIMARY KEY (employee_id, sub_agent_id),
  UNIQUE (employee_id, worker_id, response_index, call_index, task_index),
  CHECK ((outcome IS NULL) = (finished_at IS NULL)),
  FOREIGN KEY (message_id, employee_id, tenant_id)
    REFERENCES inbound_messages (message_id, employee_id, tenant_id) ON DELETE CASCADE
);
CREATE INDEX sub_agents_by_message ON sub_agents (message_id);

CREATE FUNCTION keep_outcome() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'a sub-agent has an outcome once' USING ERRCODE = 'EM001';
END $$;
CREATE TRIGGER outcome_stays BEFORE UPDATE ON sub_agents FOR EACH ROW
  WHEN (OLD.outcome IS NOT NULL) EXECUTE FUNCTION keep_outcome();

ALTER TABLE sub_agents ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON sub_agents TO empla_employee USING (employee_id = current_employee());
CREATE POLICY own_worker ON sub_agents AS RESTRICTIVE FOR INSERT TO empla_employee WITH CHECK (EXISTS (
  SELECT FROM message_workers w WHERE w.worker_id = sub_agents.worker_id AND w.message_id = sub_agents.message_id
));
GRANT SELECT, INSERT ON sub_agents TO empla_employee;
GRANT UPDATE (epoch, worked_ms, responses, calls, model, tokens_in, tokens_out, cost_micros, outcome, reason, answer, finished_at)
  ON sub_agents TO empla_employee;
