"""The local stack: Postgres, Valkey and the clouds' services as plain processes on this machine.

From the inside out, a module a step:

1. ``config``, ``ports`` - every port, path and name; whether a port is free, and who holds it if not
2. ``keeper``, ``process`` - one child process that never outlives us; ``probes`` ask whether it is ready
3. ``server`` - what can be stopped, killed, frozen and started again: ``postgres`` (``staging`` is its place),
   ``valkey``, ``ministack``
4. ``aws`` - deploys Helios to an emulated AWS
5. ``parts``, ``supervisor`` - the table of all parts, and who starts, watches and ends them
6. ``demo`` - ``make local-demo``: ``preflight``, the parts, live ``figures``, a ``summary``; ``stop`` ends the
   ``instance`` that runs
"""
