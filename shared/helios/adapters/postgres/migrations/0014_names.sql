-- The names of docs/glossary.md. Only names change: no row is rewritten.
ALTER TABLE flows RENAME TO flow_instances;
ALTER TABLE flow_instances RENAME story TO details;
ALTER TABLE flow_counts RENAME stories TO instances;
ALTER TABLE flow_slots RENAME stories TO instances;
ALTER TABLE flow_instances RENAME excused_until TO deferred_until;
ALTER TABLE dead_letters RENAME way_in TO channel;
ALTER TABLE audit_log RENAME who TO actor;
ALTER TABLE replay_jobs RENAME who TO actor;
