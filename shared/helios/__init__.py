"""Helios: what three clouds say happened, stored once, and whether they agree.

The way of an event, a module a step:

1. ``functions``, ``helios.api`` - a cloud's call comes in and is made into ``event.Delivery``s
2. ``normalise`` - a delivery becomes an ``event.Event``, or is ``errors.Rejected`` with its reason
3. ``flows.ingest`` - a batch is judged: stored, duplicate, contradictory, rejected
4. ``ports`` - what that needs of the world; ``adapters`` keep it with Postgres and Redis, or in memory
5. ``ledger`` - what it leaves behind: counts, dead letters, and a frame for those who watch
6. ``bootstrap`` - puts the parts together from ``settings``
"""
