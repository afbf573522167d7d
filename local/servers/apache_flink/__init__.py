"""Apache Flink on this machine: ``environment`` installs it, ``cluster`` runs it."""
