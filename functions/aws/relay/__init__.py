"""Relays frames from the outbox to the WebSocket clients of API Gateway."""
