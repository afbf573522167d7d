"""The processes of the local stack: settings and ports, one process, the table of services and their supervisor."""
