"""What works on replay jobs."""
