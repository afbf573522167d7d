"""Where replayed events are sent: a webhook, or a cloud's own bus or topic."""
