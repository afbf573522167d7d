"""Measures Helios' performance in one run: a module for each subject, each with a ``measure`` function."""
