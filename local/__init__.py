"""The local stack: Postgres, Valkey and the clouds' services as plain processes on this machine.

The packages from the innermost layer outwards; ``make lint`` checks the order:

1. ``stack`` - ``config``, ``ports``: every port, path and name, and the check that a port is free; ``reaper``,
   ``process``: one child process that never outlives its parent; ``probes``: readiness checks; ``server``: the
   interface to start, stop, kill, freeze and restart a service
2. ``servers``, ``emulators`` - the real servers, and the emulators of Google Cloud's and Azure's services
3. ``aws`` - the AWS emulator, and the deployment of Helios to it
4. ``canary`` - sends one event through each authenticator of the API
5. ``stack.services``, ``stack.supervisor`` - the table of all services, and the supervisor that runs them
6. ``demo`` - ``make local-demo``: ``preflight``, the services, live ``stats``, a ``summary``; ``stop`` ends the demo

This package may import ``scripts.build``, which packages the functions for the AWS emulator, and nothing else of
``scripts``.
"""
