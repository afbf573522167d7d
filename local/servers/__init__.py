"""The real servers of the local stack: Postgres, Valkey, and librdkafka's Kafka."""
