-- Since 0024 every sweep gives frames their positions and adds what they carry to the sums, and every role that evaluates
-- flow instances reads the counts that wait in frames.
INSERT INTO role_grants
SELECT role, relation, 'SELECT'
FROM unnest(ARRAY['helios_aws', 'helios_gcp', 'helios_azure', 'helios_api']) AS role,
     unnest(ARRAY['waiting_counts', 'waiting_flow_counts']) AS relation;
UPDATE role_grants SET privileges = privileges || ', UPDATE (position)'
WHERE role IN ('helios_gcp', 'helios_azure') AND relation IN ('frames', 'stream');
