"""Runs the sweep once a minute."""
