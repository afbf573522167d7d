"""Ingests EventBridge events from SQS."""
