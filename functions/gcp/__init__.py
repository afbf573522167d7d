"""Google Cloud Functions (2nd gen). This folder is one source archive."""
