"""The local stack: Postgres, Valkey and the clouds' services as plain processes on this machine.

The packages from the innermost layer outwards; ``make lint`` checks the order:

1. ``stack`` - ``config``: every port, path and name; ``credentials``; ``request_filter``
2. ``servers``, ``emulators`` - librdkafka's Kafka, and the emulators of Google Cloud's and Azure's services
3. ``aws`` - the AWS emulator, and the deployment of Helios to it
4. ``canary`` - sends one event through each authenticator of the API
5. ``stack.services`` - the table of all services
6. ``demo`` - ``make local-demo``: ``preflight``, the services, live ``stats``, a ``summary``; ``stop`` ends the demo

``helios.processes`` supervises the services, and ``helios.embedded`` has Postgres and Valkey, which ``helios serve``
also uses.

This package may import ``scripts.build``, which packages the functions for the AWS emulator, and nothing else of
``scripts``.
"""
