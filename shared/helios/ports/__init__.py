"""What the services need from the outside, as protocols, a file per topic. Adapters implement them."""
