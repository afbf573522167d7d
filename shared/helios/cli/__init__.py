"""The command line for those who ask: flows, events and the live stream, as tables or as JSON lines."""
