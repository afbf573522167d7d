"""What Helios costs, measured side by side in one run: a module per table, each with a ``measure`` function."""
