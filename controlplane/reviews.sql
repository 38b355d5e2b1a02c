-- name: faced
-- A review that somebody decides about, with what tells which decisions fit. Locks nothing: whoever decides compares again.
SELECT r.review_id, r.tenant_id, r.employee_id, r.message_id, r.worker_id, r.outbox_id, r.kind, r.state, r.resolved_by,
  review_resumes(r) AS resumes
FROM reviews r WHERE r.review_id = $1 AND ($2::uuid IS NULL OR r.tenant_id = $2);

-- name: release
-- Gives a row that was held, or of which nobody knows whether it arrived, back to the Sender, who holds it no more. Nothing: it
-- waits no more.
UPDATE outbox SET state = 'queued', body = coalesce($3, body), approved_by = $4, reason = '', next_at = NULL,
  queued_at = now(), started_at = NULL, ended_at = NULL
WHERE outbox_id = $1 AND state = $2 RETURNING message_id, kind;

-- name: end_row
-- Ends a row that was held, or of which nobody knew whether it arrived. Nothing: it waits no more.
UPDATE outbox SET state = $3, reason = $4, receipt = coalesce($5, receipt), ended_at = now()
WHERE outbox_id = $1 AND state = $2 RETURNING message_id, kind;

-- name: move_message
-- Moves the message whose reply was decided about; one that has ended meanwhile stays as it is.
UPDATE inbound_messages SET processing_state = $2, step = CASE $2 WHEN 'sending' THEN 'send' ELSE '' END, reason = $3,
  ended_at = CASE WHEN $2 <> 'sending' THEN now() END
WHERE message_id = $1 AND processing_state = 'waiting' AND step = 'send';

-- name: answer
-- A decision about a unit, for its employee; closes the review (see 0005_reviews.sql), or fails with EM002.
INSERT INTO unit_answers (unit_id, question_key, message_id, tenant_id, employee_id, answer, answered_by)
VALUES ($1, $2, $3, $4, $5, $6, $7);

-- name: close
-- Closes a review that is open; returns nothing for one that is not.
UPDATE reviews SET state = $2, decision = $3, resolved_by = $4, resolved_at = now()
WHERE review_id = $1 AND state = 'open' RETURNING review_id;

-- name: expired
-- Open reviews whose time is over, the longest first. Whether an unknown sending arrived is never decided by time.
SELECT review_id FROM reviews
WHERE state = 'open' AND expires_at IS NOT NULL AND expires_at <= now() AND kind <> 'unknown_after_send'
ORDER BY expires_at LIMIT $1;
