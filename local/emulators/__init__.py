"""Emulators of Google Cloud's and Azure's services, and of the identity providers that sign their tokens."""
