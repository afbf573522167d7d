"""How the ports are kept: Postgres and Redis for real, memory for trying things out."""
