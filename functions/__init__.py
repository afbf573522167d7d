"""The functions that run in the clouds, in one folder per cloud. Each converts its input and calls one service."""
