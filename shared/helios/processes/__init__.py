"""Programs that run on this machine under one supervisor: started in order, watched, and ended with their parent.

From the innermost module outwards: ``ports``, ``private`` and ``interrupts`` (free ports; files for one user; the
signals that end a run), ``reaper`` and ``process`` (one child process that never outlives its parent), ``probes``
(readiness checks), ``server`` (the interface to start, stop, kill, freeze and restart a service), ``instance`` (one run
per folder), ``supervisor`` (the services of a run, in the order of their needs).
"""
