"""The AWS emulator, and the deployment of Helios to it."""
