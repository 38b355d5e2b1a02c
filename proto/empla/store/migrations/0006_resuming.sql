-- Units that wait, and go on when they are answered.
--
-- An answer is taken with the move that it leads to; what is not taken yet is what an employee looks for when it starts, is
-- attached again, or hears that there is an answer.

ALTER TABLE unit_answers ADD COLUMN taken_at timestamptz;
CREATE INDEX unit_answers_untaken ON unit_answers (employee_id, answered_at) WHERE taken_at IS NULL;
GRANT UPDATE (taken_at) ON unit_answers TO empla_employee;

-- An action that was not done is begun anew once a person has allowed it: its intent has the time of that attempt.
GRANT UPDATE (started_at) ON effects TO empla_employee;
