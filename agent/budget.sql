-- name: hold
-- Holds the most that a call may cost, and says how that went.
SELECT hold_budget($1, $2, $3, $4, $5, $6);

-- name: settle
-- Ends a hold with what the call did cost.
SELECT settle_budget($1, $2, $3);
