"""The fault suite: sends numbered orders while parts of Helios fail, and checks every promise after each fault."""
