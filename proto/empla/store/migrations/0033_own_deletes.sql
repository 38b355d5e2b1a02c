-- Who may delete from a table may also lock it, and with it hold up everybody else's work. So employees delete by functions, each of
-- which answers for nobody but the employee whose role the connection has, and returns the ids of what went.

CREATE FUNCTION delete_own_memories(ids uuid[]) RETURNS SETOF uuid
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
  DELETE FROM memories WHERE memory_id = ANY (ids) AND employee_id = substr(session_user::text, 9)::uuid RETURNING memory_id
$$;

CREATE FUNCTION delete_own_beliefs(ids uuid[]) RETURNS SETOF uuid
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
  DELETE FROM beliefs WHERE belief_id = ANY (ids) AND employee_id = substr(session_user::text, 9)::uuid RETURNING belief_id
$$;

CREATE FUNCTION delete_own_procedures(ids uuid[]) RETURNS SETOF uuid
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
  DELETE FROM procedures WHERE procedure_id = ANY (ids) AND employee_id = substr(session_user::text, 9)::uuid RETURNING procedure_id
$$;

CREATE FUNCTION delete_own_procedure_runs(ids uuid[]) RETURNS SETOF uuid
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
  DELETE FROM procedure_runs WHERE unit_id = ANY (ids) AND employee_id = substr(session_user::text, 9)::uuid RETURNING unit_id
$$;

CREATE FUNCTION delete_own_working_notes(ids uuid[]) RETURNS SETOF uuid
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
  DELETE FROM working_notes WHERE note_id = ANY (ids) AND employee_id = substr(session_user::text, 9)::uuid RETURNING note_id
$$;

REVOKE ALL ON FUNCTION delete_own_memories, delete_own_beliefs, delete_own_procedures, delete_own_procedure_runs,
  delete_own_working_notes FROM PUBLIC;
GRANT EXECUTE ON FUNCTION delete_own_memories, delete_own_beliefs, delete_own_procedures, delete_own_procedure_runs,
  delete_own_working_notes TO empla_employee;
REVOKE DELETE ON memories, beliefs, procedures, procedure_runs, working_notes FROM empla_employee;
