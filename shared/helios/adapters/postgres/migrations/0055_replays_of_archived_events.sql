-- The function on AWS that runs replay jobs reads archived events too, of which the manifest names the files.
INSERT INTO role_grants VALUES
    ('helios_aws', 'archive_files', 'SELECT'),
    ('helios_aws', 'archive_index', 'SELECT');
