"""The real servers that the local stack runs: Postgres, Valkey, and librdkafka's Kafka."""
