"""``make local-demo``: checks the machine, starts every service, shows live stats and prints a summary at the end."""
