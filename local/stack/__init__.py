"""The local stack: its settings and ports, its credentials, and the table of its services."""
