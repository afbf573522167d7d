"""Apache Kafka on this machine: ``jars`` installs it, ``cluster`` runs it."""
