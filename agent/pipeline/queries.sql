-- name: edges
-- Every transition that an employee may make.
SELECT machine, from_state, from_step, to_state, to_step FROM state_edges WHERE mover = 'employee';

-- name: epoch
-- The epoch that owns the employee now.
SELECT epoch FROM employee_epochs WHERE employee_id = $1;

-- name: claim
-- Gives new messages to this epoch with the first attempt of their first step begun; those of others stay as they are.
-- One that this epoch has claimed and not begun to move is claimed again: the answer to the first claim may have been lost.
WITH fence AS MATERIALIZED (
  SELECT employee_id FROM employee_epochs WHERE employee_id = $2 AND epoch = $3 FOR KEY SHARE
)
UPDATE inbound_messages m
SET epoch = $3, attempt = 1, started_at = now()
FROM fence
WHERE m.message_id = ANY ($1::uuid[]) AND m.employee_id = fence.employee_id
  AND m.processing_state = 'received' AND (m.epoch IS NULL OR m.epoch = $3)
RETURNING m.message_id, extract(epoch FROM m.queued_at)::float8 AS queued_at,
  EXISTS (SELECT FROM inbound_messages c WHERE c.collected_into = m.message_id) AS collects,
  (SELECT context_version FROM conversations v WHERE v.conversation_id = m.conversation_id);

-- name: transition
-- Moves each unit of a batch along one edge, with the record of the attempt that caused it, or leaves that unit untouched.
-- Returns the units that moved. A unit may appear once in a batch. The workers, replies and events that a move brings are written with
-- it or not at all; to begin these inserts where there are none costs less than another statement to plan on each new connection.
WITH item AS MATERIALIZED (
  SELECT * FROM jsonb_to_recordset($1::jsonb) AS i (
    machine text, unit_id uuid, message_id uuid, stage text,
    from_state text, from_step text, from_attempt int,
    to_state text, to_step text, attempt int, failures int, failed int,
    begins boolean, ends boolean, next_at float8, reason text,
    outcome text, queued_at float8, next_queued_at float8, started_at float8, finished_at float8, duration_ms float8,
    error_class text, error text, model text, tokens_in int, tokens_out int, cost_micros bigint, output jsonb, span_id text,
    workers jsonb, outbox jsonb, reviews jsonb, events jsonb, answers jsonb, takes text)
), fence AS MATERIALIZED (
  SELECT employee_id, tenant_id FROM employee_epochs WHERE employee_id = $2 AND epoch = $3 FOR KEY SHARE
), message AS (
  UPDATE inbound_messages m
  SET processing_state = i.to_state, step = i.to_step, attempt = i.attempt, failures = i.failures,
      retry_count = m.retry_count + i.failed,
      queued_at = to_timestamp(i.next_queued_at),
      started_at = CASE WHEN i.begins THEN to_timestamp(i.finished_at) END,
      next_at = to_timestamp(i.next_at), reason = i.reason,
      ended_at = CASE WHEN i.ends THEN now() END,
      step_timings = CASE WHEN i.outcome IS NULL THEN m.step_timings
        ELSE m.step_timings || jsonb_build_object(i.from_step, i.duration_ms) END
  FROM item i CROSS JOIN fence
  WHERE i.machine = 'message' AND m.message_id = i.unit_id AND m.employee_id = fence.employee_id AND m.epoch = $3
    AND m.processing_state = i.from_state AND m.step = i.from_step AND m.attempt = i.from_attempt
  RETURNING m.message_id AS unit_id
), worker AS (
  UPDATE message_workers w
  SET state = i.to_state, step = i.to_step, attempt = i.attempt, failures = i.failures,
      retry_count = w.retry_count + i.failed,
      queued_at = to_timestamp(i.next_queued_at),
      started_at = CASE WHEN i.begins THEN to_timestamp(i.finished_at) END,
      next_at = to_timestamp(i.next_at), reason = i.reason,
      step_timings = CASE WHEN i.outcome IS NULL THEN w.step_timings
        ELSE w.step_timings || jsonb_build_object(i.from_step, i.duration_ms) END
  FROM item i CROSS JOIN fence
  WHERE i.machine = 'worker' AND w.worker_id = i.unit_id AND w.employee_id = fence.employee_id AND w.epoch = $3
    AND w.state = i.from_state AND w.step = i.from_step AND w.attempt = i.from_attempt
  RETURNING w.worker_id AS unit_id
), moved AS MATERIALIZED (
  SELECT i.*, f.employee_id, f.tenant_id
  FROM (SELECT unit_id FROM message UNION ALL SELECT unit_id FROM worker) u JOIN item i USING (unit_id) CROSS JOIN fence f
), recorded AS (
  INSERT INTO step_attempts (unit_id, step, attempt, message_id, tenant_id, employee_id, stage, epoch, queued_at, started_at,
    finished_at, duration_ms, outcome, error_class, error, model, tokens_in, tokens_out, cost_micros, output,
    span_id)
  SELECT unit_id, from_step, from_attempt, message_id, tenant_id, employee_id, stage, $3, to_timestamp(queued_at),
    to_timestamp(started_at), to_timestamp(finished_at), duration_ms, outcome, error_class, error, model, tokens_in,
    tokens_out, cost_micros, output, span_id
  FROM moved WHERE outcome IS NOT NULL
), forked AS (
  INSERT INTO message_workers (worker_id, message_id, tenant_id, employee_id, intent_index, intent, epoch, attempt, started_at)
  SELECT w.worker_id, m.message_id, m.tenant_id, m.employee_id, w.intent_index, w.intent, $3, 1, now()
  FROM moved m, jsonb_to_recordset(m.workers) AS w (worker_id uuid, intent_index int, intent jsonb)
), queued AS (
  INSERT INTO outbox (outbox_id, tenant_id, employee_id, message_id, conversation_id, kind, part, body, proposal, epoch)
  SELECT o.outbox_id, m.tenant_id, m.employee_id, m.message_id, o.conversation_id, o.kind, o.part, o.body, o.proposal, $3
  FROM moved m, jsonb_to_recordset(m.outbox) AS o
    (outbox_id uuid, conversation_id uuid, kind text, part int, body text, proposal text)
), noted AS (
  INSERT INTO employee_events (tenant_id, employee_id, kind, payload)
  SELECT m.tenant_id, m.employee_id, e.kind, e.payload
  FROM moved m, jsonb_to_recordset(m.events) AS e (kind text, payload jsonb)
)
SELECT unit_id FROM moved;

-- name: seldom_rows_of_moves
-- Goes before the last line of `transition`, in the same way, where a move asks a person or takes an answer: that would cost each
-- other move a fifth more.
, asked AS (
  INSERT INTO reviews (review_id, tenant_id, employee_id, message_id, worker_id, kind, reason, payload, expires_at)
  SELECT r.review_id, m.tenant_id, m.employee_id, m.message_id, r.worker_id, r.kind, r.reason, r.payload,
    now() + make_interval(secs => r.expires_in)
  FROM moved m, jsonb_to_recordset(m.reviews) AS r
    (review_id uuid, worker_id uuid, kind text, reason text, payload jsonb, expires_in float8)
  WHERE r.kind <> 'quarantine' OR NOT EXISTS (
    SELECT FROM reviews o WHERE o.tenant_id = m.tenant_id AND o.employee_id = m.employee_id AND o.kind = 'quarantine' AND o.state = 'open')
), told AS (
  INSERT INTO unit_answers (unit_id, question_key, message_id, tenant_id, employee_id, answer, answered_by)
  SELECT a.unit_id, a.question_key, a.message_id, m.tenant_id, m.employee_id, a.answer, a.answered_by
  FROM moved m, jsonb_to_recordset(m.answers) AS a
    (unit_id uuid, question_key text, message_id uuid, answer jsonb, answered_by text)
), taken AS (
  UPDATE unit_answers u SET taken_at = now() FROM moved m WHERE u.unit_id = m.unit_id AND u.question_key = m.takes
)

-- name: where_is
-- Where units stand now, to tell a move that took effect before the connection broke from one that did not.
SELECT message_id AS unit_id, processing_state AS state, step, attempt, epoch FROM inbound_messages
WHERE message_id = ANY ($1::uuid[])
UNION ALL
SELECT worker_id, state, step, attempt, epoch FROM message_workers WHERE worker_id = ANY ($1::uuid[]);

-- name: take_over
-- Makes this epoch the owner of everything live that an earlier one left. An attempt that was running counts as lost.
WITH fence AS MATERIALIZED (
  SELECT employee_id, tenant_id FROM employee_epochs WHERE employee_id = $1 AND epoch = $2 FOR KEY SHARE
), left_message AS MATERIALIZED (
  SELECT m.* FROM inbound_messages m JOIN fence USING (employee_id)
  WHERE m.ended_at IS NULL AND m.processing_state <> 'sending' AND m.epoch < $2
  FOR NO KEY UPDATE OF m
), left_worker AS MATERIALIZED (
  SELECT w.* FROM message_workers w JOIN fence USING (employee_id)
  WHERE w.state IN ('running', 'waiting_for_input') AND w.epoch < $2
  FOR NO KEY UPDATE OF w
), lost AS (
  INSERT INTO step_attempts (unit_id, step, attempt, message_id, tenant_id, employee_id, stage, epoch, queued_at, started_at,
    duration_ms, outcome, error_class, error)
  SELECT message_id, step, attempt, message_id, tenant_id, employee_id,
    CASE processing_state WHEN 'received' THEN 'receive' WHEN 'merging' THEN 'merge' ELSE 'analyze' END,
    epoch, queued_at, started_at, greatest(0, extract(epoch FROM now() - started_at) * 1000), 'lost', 'ProcessLost',
    'the process ended while it worked on this'
  FROM left_message WHERE started_at IS NOT NULL AND processing_state IN ('received', 'analyzing', 'merging')
  UNION ALL
  SELECT worker_id, step, attempt, message_id, tenant_id, employee_id, 'work', epoch, queued_at, started_at,
    greatest(0, extract(epoch FROM now() - started_at) * 1000), 'lost', 'ProcessLost',
    'the process ended while it worked on this'
  FROM left_worker WHERE started_at IS NOT NULL AND state = 'running'
), messages AS (
  UPDATE inbound_messages m SET epoch = $2, started_at = NULL, queued_at = now(),
    attempt = m.attempt + (m.started_at IS NOT NULL)::int,
    failures = m.failures + (m.started_at IS NOT NULL)::int,
    retry_count = m.retry_count + (m.started_at IS NOT NULL)::int
  FROM left_message l WHERE m.message_id = l.message_id
  RETURNING m.message_id
), workers AS (
  UPDATE message_workers w SET epoch = $2, started_at = NULL, queued_at = now(),
    attempt = w.attempt + (w.started_at IS NOT NULL)::int,
    failures = w.failures + (w.started_at IS NOT NULL)::int,
    retry_count = w.retry_count + (w.started_at IS NOT NULL)::int
  FROM left_worker l WHERE w.worker_id = l.worker_id
  RETURNING w.worker_id
)
SELECT (SELECT count(*) FROM messages) AS messages, (SELECT count(*) FROM workers) AS workers,
  EXISTS (SELECT FROM fence) AS owner;

-- name: live_messages
-- What this epoch owns and has to work on, oldest first. `lost`: a process died while it did the step that comes next.
SELECT m.message_id, m.conversation_id, m.sender, m.processing_state AS state, m.step, m.attempt, m.failures,
  EXISTS (SELECT FROM step_attempts a WHERE a.employee_id = m.employee_id AND a.unit_id = m.message_id AND a.step = m.step
    AND a.outcome = 'lost') AS lost,
  extract(epoch FROM m.queued_at)::float8 AS queued_at, extract(epoch FROM m.next_at)::float8 AS next_at,
  m.trace_context, m.received_at, b.body, b.metadata
FROM inbound_messages m JOIN message_bodies b USING (message_id)
WHERE m.employee_id = $1 AND m.epoch = $2 AND m.ended_at IS NULL AND m.processing_state NOT IN ('sending', 'waiting')
ORDER BY m.sequence LIMIT $3;

-- name: arrived
-- What was claimed and not found over a rate cap of the messages that arrived since the minute of the oldest one that has yet to be
-- judged, or in this minute; newest first. It walks back row by row, so as to read no more than that, and so many rows at most.
WITH RECURSIVE since AS MATERIALIZED (
  SELECT date_trunc('minute', least(now(), min(received_at))) AS minute FROM inbound_messages
  WHERE employee_id = $1 AND ended_at IS NULL AND processing_state = 'received'
), walk AS (
  (SELECT sequence, message_id, sender, received_at, processing_state, attempt, reason, event_id, 1 AS steps FROM inbound_messages
   WHERE employee_id = $1 ORDER BY sequence DESC LIMIT 1)
  UNION ALL
  SELECT n.*, steps + 1 FROM walk w, since, LATERAL (
    SELECT sequence, message_id, sender, received_at, processing_state, attempt, reason, event_id FROM inbound_messages
    WHERE employee_id = $1 AND sequence < w.sequence ORDER BY sequence DESC LIMIT 1
  ) n WHERE w.received_at >= since.minute AND w.steps < $2
)
SELECT message_id, sender, extract(epoch FROM received_at)::float8 AS received_at FROM walk, since
WHERE received_at >= since.minute AND processing_state <> 'received' AND attempt > 0
  AND NOT (processing_state = 'withheld' AND starts_with(reason, $3)) AND NOT starts_with(event_id, 'schedule:')
  AND NOT starts_with(event_id, 'intention:');

-- name: live_workers
-- The workers of some messages, in the order of their intents.
SELECT w.worker_id, w.message_id, w.intent_index, w.intent, w.state, w.step, w.attempt, w.failures,
  EXISTS (SELECT FROM step_attempts a WHERE a.employee_id = w.employee_id AND a.unit_id = w.worker_id AND a.step = w.step
    AND a.outcome = 'lost') AS lost,
  extract(epoch FROM w.queued_at)::float8 AS queued_at, extract(epoch FROM w.next_at)::float8 AS next_at
FROM message_workers w WHERE w.message_id = ANY ($1::uuid[]) ORDER BY w.message_id, w.intent_index;

-- name: outputs
-- What the finished steps of some messages produced, and under `waiting` what a unit waits or waited for.
SELECT message_id, unit_id, CASE outcome WHEN 'waiting' THEN 'waiting' ELSE step END AS step, output FROM step_attempts
WHERE message_id = ANY ($1::uuid[]) AND outcome IN ('succeeded', 'waiting') ORDER BY finished_at;

-- name: take_up
-- The units whose answers nobody has taken, as this epoch's own; a worker only once its message is merged, for until then it
-- belongs to that. The answer is taken with the move that it leads to.
WITH fence AS MATERIALIZED (
  SELECT employee_id FROM employee_epochs WHERE employee_id = $1 AND epoch = $2 FOR KEY SHARE
), untaken AS MATERIALIZED (
  SELECT u.unit_id, u.message_id, u.question_key, u.employee_id FROM unit_answers u JOIN fence USING (employee_id)
  WHERE u.taken_at IS NULL ORDER BY u.answered_at LIMIT $3
), message AS (
  UPDATE inbound_messages m SET epoch = $2 FROM untaken u
  WHERE m.message_id = u.unit_id AND m.employee_id = u.employee_id
    AND m.processing_state = 'waiting' AND m.step = 'classification'
  RETURNING m.message_id, u.question_key
), worker AS (
  UPDATE message_workers w SET epoch = $2 FROM untaken u JOIN inbound_messages m USING (message_id)
  WHERE w.worker_id = u.unit_id AND w.employee_id = u.employee_id AND w.state IN ('waiting_for_input', 'failed')
    AND m.processing_state NOT IN ('received', 'analyzing', 'working', 'merging')
  RETURNING w.worker_id, w.message_id, u.question_key
)
SELECT message_id AS unit_id, message_id, question_key FROM message
UNION ALL
SELECT worker_id, message_id, question_key FROM worker;

-- name: take_up_stopped
-- The units that wait and that somebody wants stopped, as this epoch's own; a worker only once its message is merged or over.
WITH fence AS MATERIALIZED (
  SELECT employee_id FROM employee_epochs WHERE employee_id = $1 AND epoch = $2 FOR KEY SHARE
), message AS (
  UPDATE inbound_messages m SET epoch = $2 FROM fence
  WHERE m.employee_id = fence.employee_id AND m.cancelled_by IS NOT NULL AND m.ended_at IS NULL
    AND m.processing_state = 'waiting' AND m.step <> 'send'
  RETURNING m.message_id
), worker AS (
  UPDATE message_workers w SET epoch = $2 FROM fence, inbound_messages m
  WHERE w.employee_id = fence.employee_id AND w.state = 'waiting_for_input' AND m.message_id = w.message_id
    AND (w.cancelled_by IS NOT NULL OR m.collected_into IS NOT NULL) AND m.processing_state NOT IN ('received', 'analyzing', 'working', 'merging')
  RETURNING w.worker_id, w.message_id
)
SELECT message_id AS unit_id, message_id FROM message
UNION ALL
SELECT worker_id, message_id FROM worker;

-- name: late_workers
-- The parts that this epoch has to finish after their message was merged.
SELECT w.worker_id AS unit_id, w.message_id FROM message_workers w JOIN inbound_messages m USING (message_id)
WHERE w.employee_id = $1 AND w.epoch = $2 AND w.state = 'running'
  AND m.processing_state NOT IN ('received', 'analyzing', 'working', 'merging');

-- name: messages
-- Some messages as they stand, whatever their state.
SELECT m.message_id, m.conversation_id, m.sender, m.processing_state AS state, m.step, m.attempt, m.failures, false AS lost,
  extract(epoch FROM m.queued_at)::float8 AS queued_at, extract(epoch FROM m.next_at)::float8 AS next_at,
  m.trace_context, m.received_at, b.body, b.metadata
FROM inbound_messages m JOIN message_bodies b USING (message_id)
WHERE m.message_id = ANY ($1::uuid[]);

-- name: answers
-- What was answered to units of some messages, in order, and where the question stood.
SELECT u.unit_id, u.message_id, u.question_key, u.answer, u.answered_by, u.answered_at, r.kind,
  (r.payload ->> 'response_index')::int AS response_index, (r.payload ->> 'call_index')::int AS call_index,
  r.payload -> 'held' AS held, (r.payload -> 'sub_agent' ->> 'sub_agent_id')::uuid AS sub_agent_id
FROM unit_answers u JOIN reviews r ON r.review_id = u.question_key::uuid
WHERE u.message_id = ANY ($1::uuid[]) ORDER BY u.answered_at;

-- name: open_questions
-- The open questions of a conversation, two of them at most, first those that were sent to this sender (`asked`).
SELECT w.worker_id, w.message_id, r.review_id, m.sender = $3
  AND EXISTS (SELECT FROM outbox o WHERE o.message_id = w.message_id AND o.kind IN ('reply', 'follow_up')
    AND o.state IN ('sent', 'unknown_after_send')) AS asked
FROM message_workers w JOIN inbound_messages m USING (message_id)
JOIN reviews r ON r.message_id = w.message_id AND r.worker_id = w.worker_id AND r.kind = 'question' AND r.state = 'open'
WHERE w.employee_id = $1 AND w.state = 'waiting_for_input' AND m.conversation_id = $2
ORDER BY asked DESC LIMIT 2;

-- name: release
-- Gives back what this epoch was working on when it was told to stop; an attempt that a drain cut short is no failure.
WITH fence AS MATERIALIZED (
  SELECT employee_id FROM employee_epochs WHERE employee_id = $1 AND epoch = $2 FOR KEY SHARE
), message AS (
  UPDATE inbound_messages m SET started_at = NULL, attempt = m.attempt + 1
  FROM fence, inbound_messages o
  WHERE m.employee_id = fence.employee_id AND m.epoch = $2 AND o.message_id = m.message_id AND m.started_at IS NOT NULL
    AND m.ended_at IS NULL AND m.processing_state IN ('received', 'analyzing', 'merging')
  RETURNING m.message_id AS unit_id, m.message_id, m.tenant_id, m.employee_id, m.step, o.attempt, o.queued_at, o.started_at,
    CASE m.processing_state WHEN 'received' THEN 'receive' WHEN 'merging' THEN 'merge' ELSE 'analyze' END AS stage
), worker AS (
  UPDATE message_workers w SET started_at = NULL, attempt = w.attempt + 1
  FROM fence, message_workers o
  WHERE w.employee_id = fence.employee_id AND w.epoch = $2 AND o.worker_id = w.worker_id AND w.started_at IS NOT NULL
    AND w.state = 'running'
  RETURNING w.worker_id AS unit_id, w.message_id, w.tenant_id, w.employee_id, w.step, o.attempt, o.queued_at, o.started_at,
    'work' AS stage
)
INSERT INTO step_attempts (unit_id, step, attempt, message_id, tenant_id, employee_id, stage, epoch, queued_at, started_at,
  duration_ms, outcome)
SELECT unit_id, step, attempt, message_id, tenant_id, employee_id, stage, $2, queued_at, started_at,
  greatest(0, extract(epoch FROM now() - started_at) * 1000), 'drained'
FROM (SELECT * FROM message UNION ALL SELECT * FROM worker) cut;

-- name: responses
-- What the model has said so far for a unit, in order: a retry replays it.
SELECT response_index, response FROM model_responses WHERE employee_id = $2 AND unit_id = $1 ORDER BY response_index;

-- name: cancelled
-- Who wants a message or a worker stopped, and why, or to which message it gives way. `tells`: its sender has been told to wait
-- for more, and not by a reply to a /stop that no more will come.
SELECT cancelled_by, cancel_reason, false AS tells, CASE WHEN cancelled_by IS NULL THEN collected_into END AS gives_way_to
FROM inbound_messages WHERE message_id = $1 AND (cancelled_by IS NOT NULL OR collected_into IS NOT NULL)
UNION ALL
SELECT w.cancelled_by, w.cancel_reason, w.cancelled_by IS NOT NULL AND w.cancelled_with IS NULL AND EXISTS (
  SELECT FROM outbox o WHERE o.message_id = w.message_id AND o.kind = 'reply' AND o.state NOT IN ('withheld', 'failed')),
  CASE WHEN w.cancelled_by IS NULL THEN m.collected_into END
FROM message_workers w JOIN inbound_messages m USING (message_id)
WHERE worker_id = $1 AND (w.cancelled_by IS NOT NULL OR m.collected_into IS NOT NULL);

-- name: stopping
-- The units of a message that are to stop, and that may be in work.
SELECT message_id AS unit_id FROM inbound_messages
WHERE message_id = $1 AND (cancelled_by IS NOT NULL OR collected_into IS NOT NULL) AND ended_at IS NULL
UNION ALL
SELECT worker_id FROM message_workers w JOIN inbound_messages m USING (message_id)
WHERE message_id = $1 AND (w.cancelled_by IS NOT NULL OR m.collected_into IS NOT NULL) AND w.state = 'running';

-- name: waiting_behind
-- What waits in the conversation of a message, behind it, oldest first.
SELECT w.message_id, w.conversation_id, w.sender, w.received_at, b.body, b.metadata
FROM inbound_messages m JOIN inbound_messages w ON w.conversation_id = m.conversation_id JOIN message_bodies b ON b.message_id = w.message_id
WHERE m.message_id = $1 AND w.employee_id = m.employee_id AND w.ended_at IS NULL AND w.sequence > m.sequence
  AND w.processing_state = 'received' AND w.epoch IS NULL
ORDER BY w.sequence LIMIT $2;

-- name: collect
-- Ends messages that nobody has claimed, because another one, which goes on, is answered for them; with a worker, they are shown to
-- it before that response. Returns those that have ended by it.
WITH fence AS MATERIALIZED (
  SELECT employee_id, epoch FROM employee_epochs WHERE employee_id = $6 AND epoch = $7
    AND NOT EXISTS (SELECT FROM inbound_messages m
      WHERE m.message_id = $1 AND (m.cancelled_by IS NOT NULL OR m.collected_into IS NOT NULL))
  FOR KEY SHARE
)
UPDATE inbound_messages c SET processing_state = 'collected', step = '', reason = $5, ended_at = now(), epoch = fence.epoch,
  collected_into = $1, steers_worker = $3, steers_before = $4
FROM fence
WHERE c.message_id = ANY ($2::uuid[]) AND c.employee_id = fence.employee_id
  AND c.processing_state = 'received' AND c.epoch IS NULL AND c.cancelled_by IS NULL
RETURNING c.message_id;

-- name: interrupt
-- Notes on what this epoch has in work of a conversation that it gives way to a later message, which nobody has claimed yet.
WITH fence AS MATERIALIZED (
  SELECT employee_id, epoch FROM employee_epochs WHERE employee_id = $2 AND epoch = $3 FOR KEY SHARE
)
UPDATE inbound_messages m SET collected_into = later.message_id
FROM fence, inbound_messages later
WHERE later.message_id = $1 AND later.processing_state = 'received' AND later.epoch IS NULL AND later.cancelled_by IS NULL
  AND m.conversation_id = later.conversation_id AND m.employee_id = fence.employee_id AND m.epoch = fence.epoch
  AND m.sequence < later.sequence AND m.ended_at IS NULL AND m.cancelled_by IS NULL AND m.collected_into IS NULL
  AND m.processing_state IN ('received', 'analyzing', 'working', 'merging')
RETURNING m.message_id;

-- name: steering
-- What was shown to a worker while it ran, oldest first.
SELECT m.sender, m.steers_before, b.body FROM message_workers w JOIN inbound_messages m ON m.collected_into = w.message_id
JOIN message_bodies b ON b.message_id = m.message_id
WHERE w.worker_id = $1 AND m.steers_worker = $1 AND m.employee_id = $2 ORDER BY m.sequence;

-- name: collected
-- What some messages are answered for as well, oldest first: those that waited, and those that were in work and gave way.
-- Not what was forgotten.
WITH RECURSIVE given AS (
  SELECT c.message_id, c.collected_into AS leader FROM inbound_messages c
  WHERE c.collected_into = ANY ($1::uuid[]) AND c.steers_worker IS NULL
  UNION
  SELECT c.message_id, g.leader FROM given g JOIN inbound_messages c ON c.collected_into = g.message_id
)
SELECT g.leader, m.message_id, m.sender, m.attempt > 0 AS interrupted, b.body
FROM given g JOIN inbound_messages m ON m.message_id = g.message_id JOIN message_bodies b ON b.message_id = m.message_id
WHERE NOT m.forgotten ORDER BY m.sequence;

-- name: done_for
-- What was done for a message, oldest first.
SELECT action, arguments, state, result FROM effects WHERE message_id = $1 AND employee_id = $2
ORDER BY started_at LIMIT $3;

-- name: cut_short
-- What a stopped unit, or a sub-agent of it, had begun and has no end of: nobody knows how far it came, save where it changes
-- nothing.
UPDATE effects e SET state = CASE WHEN repeatable THEN 'failed' ELSE 'ambiguous' END, error_class = 'Cancelled',
  error = 'it was cut short when the work was stopped', finished_at = now()
FROM (SELECT employee_id FROM employee_epochs WHERE employee_id = $2 AND epoch = $3 FOR KEY SHARE) fence
WHERE e.employee_id = fence.employee_id AND e.state = 'intended'
  AND e.unit_id IN (SELECT $1 UNION ALL SELECT s.sub_agent_id FROM sub_agents s WHERE s.worker_id = $1 AND s.employee_id = $2);

-- name: commit_response
-- Makes a response durable before its calls run; fenced.
INSERT INTO model_responses (unit_id, response_index, message_id, tenant_id, employee_id, epoch, response)
SELECT $1, $2, $3, tenant_id, employee_id, epoch, $4 FROM
  (SELECT employee_id, tenant_id, epoch FROM employee_epochs WHERE employee_id = $5 AND epoch = $6 FOR KEY SHARE) fence
RETURNING response_index;

-- name: begin_effect
-- Records the intent to act, once for each (unit, response, call); an earlier record of the same call is returned instead, and
-- whether it is this very attempt's, by the time it was begun: the answer to a statement may be lost. What was not done for want
-- of a person, or of which nobody knew what it did, is begun anew if that was before $12, when a person said so. For a message that was
-- restored from a backup, what is not repeatable may have been done since: it is ambiguous from the start, unless a person has said
-- so since. Nothing: the launch is over, or somebody wants the worker $13 stopped, which the call is made for.
WITH fence AS MATERIALIZED (
  SELECT employee_id, tenant_id, epoch FROM employee_epochs WHERE employee_id = $5 AND epoch = $6
    AND NOT EXISTS (SELECT FROM message_workers w JOIN inbound_messages m USING (message_id)
      WHERE w.worker_id = $13 AND (w.cancelled_by IS NOT NULL OR m.collected_into IS NOT NULL))
  FOR KEY SHARE
), restored AS MATERIALIZED (
  SELECT NOT $10 AND EXISTS (SELECT FROM inbound_messages m WHERE (m.message_id = $4 OR m.collected_into = $4)
    AND m.restored_at > coalesce($12::timestamptz, '-infinity')) AS doubtful
), intended AS (
  INSERT INTO effects (unit_id, response_index, call_index, message_id, tenant_id, employee_id, epoch, capability, action,
    arguments, repeatable, started_at, state, finished_at)
  SELECT $1, $2, $3, $4, tenant_id, employee_id, epoch, $7, $8, $9, $10, $11,
    CASE WHEN doubtful THEN 'ambiguous' ELSE 'intended' END, CASE WHEN doubtful THEN now() END FROM fence, restored
  ON CONFLICT (employee_id, unit_id, response_index, call_index) DO UPDATE
  SET state = excluded.state, error_class = '', error = '', finished_at = excluded.finished_at, epoch = excluded.epoch,
    started_at = excluded.started_at
  WHERE effects.finished_at <= $12
    AND (effects.state = 'ambiguous' OR effects.state = 'failed' AND effects.error_class = 'ApprovalNeeded')
  RETURNING state
)
SELECT state, NULL::jsonb AS result, '' AS error, '' AS error_class, state = 'intended' AS mine FROM intended
UNION ALL
SELECT e.state, e.result, e.error, e.error_class, e.state = 'intended' AND e.epoch = $6 AND e.started_at = $11
FROM effects e, fence
WHERE e.employee_id = fence.employee_id AND e.unit_id = $1 AND e.response_index = $2 AND e.call_index = $3
  AND NOT EXISTS (SELECT FROM intended);

-- name: end_effect
-- Records what came of an intent; fenced.
UPDATE effects e SET state = $4, result = $5, error_class = $6, error = $7, places = $8, finished_at = now(),
  epoch = fence.epoch
FROM (SELECT employee_id, epoch FROM employee_epochs WHERE employee_id = $9 AND epoch = $10 FOR KEY SHARE) fence
WHERE e.unit_id = $1 AND e.response_index = $2 AND e.call_index = $3 AND e.employee_id = fence.employee_id
RETURNING e.unit_id;

-- name: conversation
-- The last turns of a conversation before a message: what was said, and the replies that were handed over. Not what was forgotten.
SELECT m.message_id, m.sender, b.body || coalesce((
    SELECT string_agg(E'\n\n' || c.body, '' ORDER BY f.sequence)
    FROM inbound_messages f JOIN message_bodies c USING (message_id)
    WHERE f.collected_into = m.message_id AND NOT f.forgotten), '') AS body,
  (SELECT string_agg(o.body, E'\n\n' ORDER BY o.queued_at) FROM outbox o
   WHERE o.message_id = m.message_id AND o.kind IN ('reply', 'follow_up') AND o.state IN ('queued', 'sending', 'sent')) AS reply
FROM inbound_messages m JOIN message_bodies b USING (message_id)
WHERE m.conversation_id = $1 AND m.message_id <> $2 AND m.processing_state IN ('answered', 'sending') AND NOT m.forgotten
ORDER BY m.sequence DESC LIMIT $3;
