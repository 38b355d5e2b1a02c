-- name: consequences
-- Of messages, named message:<id>: whether one changed a belief, and whether something was done for it that changed something.
SELECT source,
  EXISTS (SELECT FROM belief_changes b WHERE b.employee_id = $1 AND b.source = named.source) AS believed,
  EXISTS (
    SELECT FROM effects e WHERE e.employee_id = $1 AND NOT e.repeatable AND e.state = 'succeeded'
      AND e.message_id = CASE WHEN substr(named.source, 9) ~* '^[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}$'
        THEN substr(named.source, 9)::uuid END
  ) AS acted
FROM unnest($2::text[]) named (source);
