"""The command line: reads flows, events and the live stream, replays, and manages tokens."""
