-- name: notes
-- What is noted now, oldest first.
SELECT note_id, conversation_id, content, expires_at FROM working_notes WHERE employee_id = $1 AND expires_at > now()
ORDER BY noted_at, note_id;

-- name: note
-- Notes something for the conversation of a message, or notes it anew; fenced. At most $7 notes of a conversation and $8 of all
-- stay, the latest; what has expired goes. Its id, NULL when there is no such message; no row when a newer launch owns the employee.
WITH fence AS MATERIALIZED (
  SELECT employee_id, tenant_id FROM employee_epochs WHERE employee_id = $1 AND epoch = $2 FOR KEY SHARE
), noted AS (
  INSERT INTO working_notes (note_id, tenant_id, employee_id, conversation_id, message_id, content, expires_at)
  SELECT $3, fence.tenant_id, fence.employee_id, m.conversation_id, m.message_id, $5, now() + make_interval(hours => $6)
  FROM fence JOIN inbound_messages m ON m.message_id = $4 AND m.employee_id = fence.employee_id
  ON CONFLICT (employee_id, conversation_id, md5(content)) DO UPDATE SET noted_at = now(),
    expires_at = excluded.expires_at
  RETURNING note_id, conversation_id
), ranked AS (
  SELECT n.note_id, n.conversation_id, n.expires_at, row_number() OVER latest AS place,
    row_number() OVER (PARTITION BY n.conversation_id ORDER BY n.noted_at DESC, n.note_id DESC) AS place_here
  FROM working_notes n CROSS JOIN noted WHERE n.employee_id = $1 AND n.note_id <> noted.note_id
  WINDOW latest AS (ORDER BY n.noted_at DESC, n.note_id DESC)
), gone AS MATERIALIZED (
  SELECT delete_own_working_notes(ARRAY(
    SELECT note_id FROM ranked WHERE expires_at <= now() OR place >= $8
      OR place_here >= $7 AND conversation_id = (SELECT conversation_id FROM noted)
  ))
)
SELECT noted.note_id, (SELECT count(*) FROM gone) AS gone FROM fence LEFT JOIN noted ON true;

-- name: clear
-- Removes a note of the conversation of a message, or all of them without an id; fenced. How many; no row when a newer launch owns the
-- employee.
WITH fence AS MATERIALIZED (
  SELECT employee_id FROM employee_epochs WHERE employee_id = $1 AND epoch = $2 FOR KEY SHARE
), gone AS MATERIALIZED (
  SELECT delete_own_working_notes(ARRAY(
    SELECT n.note_id FROM working_notes n JOIN inbound_messages m USING (conversation_id, employee_id)
    WHERE n.employee_id = fence.employee_id AND m.message_id = $3 AND ($4 = '' OR n.note_id::text = $4)
  )) FROM fence
)
SELECT (SELECT count(*) FROM gone) AS gone FROM fence;
