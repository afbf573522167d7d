"""The system suites of Google's clients of Pub/Sub for Python and for Node.js, on the emulator of Helios."""
