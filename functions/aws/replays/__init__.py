"""Works on replay jobs."""
