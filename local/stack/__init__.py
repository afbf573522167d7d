"""The local stack as processes: settings and ports, how one process is run, the table of parts, and the supervisor."""
