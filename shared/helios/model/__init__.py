"""What Helios deals in: frozen structs, a file per topic, and no I/O."""
