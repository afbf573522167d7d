"""The fault suite: numbered orders are sent while parts of Helios fail; every promise is checked after each fault."""
