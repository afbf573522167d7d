"""``make local-demo``: checks the machine, starts every part, shows live stats, and ends with a summary."""
