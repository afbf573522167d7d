"""The data of Helios: frozen structs, a file per topic, without I/O."""
