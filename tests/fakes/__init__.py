"""In-memory implementations of the ports, for quick tests. The contract suite checks them like the adapters."""
