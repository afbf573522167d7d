"""Handles the routes of the API Gateway WebSocket."""
