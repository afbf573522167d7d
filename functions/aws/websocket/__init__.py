"""Who watches: the routes of the API Gateway WebSocket."""
