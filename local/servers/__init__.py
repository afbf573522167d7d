"""The servers that only the local stack runs: librdkafka's Kafka."""
