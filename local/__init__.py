"""The local stack: Postgres, Valkey and the clouds' services as plain processes on this machine.

From the inside out; ``make lint`` checks the order:

1. ``stack`` - ``config``, ``ports``: every port, path and name; whether a port is free, and which process uses it;
   ``reaper``, ``process``: one child process that never outlives its parent; ``probes`` ask whether it is ready;
   ``server``: what can be stopped, killed, frozen and started again
2. ``servers``, ``emulators`` - the real servers, and the emulations of Google Cloud's and Azure's services
3. ``aws`` - the AWS emulator, and the deployment of Helios to it
4. ``canary`` - sends one event past each guard of the API
5. ``stack.services``, ``stack.supervisor`` - the table of all services, and what starts, watches and ends them
6. ``demo`` - ``make local-demo``: ``preflight``, the services, live ``stats``, a ``summary``; ``stop`` ends it

It may import ``scripts.build``, which packages the functions for the AWS emulator, and nothing else of ``scripts``.
"""
