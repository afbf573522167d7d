"""The ports in memory, for quick tests; the contract suite holds them to the same promises as the adapters."""
