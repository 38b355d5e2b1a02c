-- A foreign key is checked past row-level security: what an employee's row refers to has to be of that employee as well. Row-level
-- security of the tables that are looked into here shows an employee its own rows only.
CREATE POLICY own_conversation ON outbox AS RESTRICTIVE FOR INSERT TO empla_employee WITH CHECK (
  conversation_id IS NULL OR EXISTS (SELECT FROM conversations c WHERE c.conversation_id = outbox.conversation_id)
);
CREATE POLICY own_worker ON reviews AS RESTRICTIVE FOR INSERT TO empla_employee WITH CHECK (
  worker_id IS NULL OR EXISTS (SELECT FROM message_workers w WHERE w.worker_id = reviews.worker_id)
);
