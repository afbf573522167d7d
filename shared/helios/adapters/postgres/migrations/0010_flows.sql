-- Text in the order of its bytes, as everywhere else in Helios: so the primary key finds the stories whose key begins in
-- some way, and no index of its own has to be kept for that.
ALTER TABLE flows ALTER flow TYPE text COLLATE "C", ALTER key TYPE text COLLATE "C";

-- In which money the amount is; NULL: it is not said.
ALTER TABLE flows ADD currency text;

-- The list that everybody looks at first. As with the other two below, few stories are in it.
CREATE INDEX flows_problems ON flows (opened_at, flow, key) WHERE status IN ('mismatched', 'incomplete');

-- Each flow's own patience says which of its stories are overdue, and the first of them is the one that has been open
-- longest. The deadline lies later only where a silent cloud is the excuse: those are passed over within the index.
CREATE INDEX flows_waiting_by_flow ON flows (flow, opened_at, deadline) WHERE waiting;
DROP INDEX flows_waiting;
