"""The targets of replay jobs: a webhook, or the bus or topic of a cloud."""
