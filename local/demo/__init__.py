"""``make local-demo``: checks the machine, starts every part, shows live figures, and ends with a summary."""
