"""Puts the events on which a cloud gave up back on their way to Helios, after the cause is repaired."""
