"""What the core asks of the world, as small promises, a file per topic; adapters keep them."""
