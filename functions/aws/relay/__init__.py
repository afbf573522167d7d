"""From the outbox to everybody who watches through API Gateway."""
