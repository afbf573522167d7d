-- The deadline follows from opened_at and the flow's patience, unless a silent cloud is the excuse. Never null, so that
-- an excused story is passed over within the index.
ALTER TABLE flows ADD excused_until timestamptz NOT NULL DEFAULT '-infinity';
UPDATE flows SET excused_until = (ledger::json ->> 2)::timestamptz WHERE waiting AND ledger::json ->> 2 IS NOT NULL;
DROP INDEX flows_waiting_by_flow;
CREATE INDEX flows_waiting_by_flow ON flows (flow, opened_at, excused_until) WHERE waiting;

-- Only what is searched for has a column of its own: each costs every batch its share. The rest is read and written as
-- one text, [amount, currency, match_seconds, clouds, ledger].
ALTER TABLE flows ALTER ledger TYPE text
    USING json_build_array(amount::text, currency, match_seconds, clouds, ledger::json)::text;
ALTER TABLE flows RENAME ledger TO story;
ALTER TABLE flows DROP amount, DROP currency, DROP deadline, DROP match_seconds, DROP clouds;

-- Stories of one instant are few enough to sort: the two columns more made the index thrice as large.
CREATE INDEX flows_by_opening ON flows (opened_at);
DROP INDEX flows_opened;
