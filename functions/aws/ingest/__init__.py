"""EventBridge events, by way of SQS."""
