"""Implementations of the ports: Postgres, Redis, Kafka, the notifiers, and the targets of replay jobs."""
