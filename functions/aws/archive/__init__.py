"""Copies events to the archive, once an hour."""
