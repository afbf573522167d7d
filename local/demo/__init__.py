"""``make local-demo``: checks the machine, starts every service, shows live stats, and ends with a summary."""
