"""Google Cloud Functions (2nd gen): one folder, one source archive."""
