"""Redis or Valkey: a cache of stored keys, tickets, connections and rate limits."""
