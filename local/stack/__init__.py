"""The local stack as processes: settings and ports, one process, the table of services, and their supervisor."""
