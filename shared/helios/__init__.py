"""Helios: stores the events of three clouds exactly once, and reports whether the clouds agree.

The flow of an event, a step per room:

1. ``functions/`` and ``api`` receive a request from a cloud
2. ``auth`` authenticates the sender
3. ``normalise`` splits the request into deliveries, and turns each into an ``Event`` or rejects it with a reason
4. ``services.ingest`` stores a batch in one transaction: each delivery is stored, duplicate, contradictory or rejected
5. ``reconciliation`` gives each flow instance of the batch its verdict, in the same transaction
6. ``services.relay`` and ``services.sink`` forward what is stored to the dashboards and to Kafka
7. ``services.sweep`` evaluates the flow instances whose deadline has passed

The rooms, from the outside in; each imports only from the lines below its own:

- ``api``, ``cli``: the HTTP and WebSocket API; the command ``helios``
- ``client``: the Python client of the API, which the command line uses
- ``bootstrap``: connects ports with adapters, as ``settings`` asks, one module for each kind of process
- ``services``: the use cases, one module per verb
- ``adapters``: the ports, implemented with Postgres, Redis, Kafka and the clouds' own services
- ``auth``: authenticators of webhooks and of callers of the API
- ``shapes``: the bodies of the API's requests and answers
- ``notify``: the notification of the relay after a commit
- ``ports``: what the services need from the outside, as protocols
- ``normalise``: the payload formats of the clouds
- ``reconciliation``: pure functions from evidence to verdicts
- ``model``: frozen structs, a file per topic, without I/O
- ``settings``, ``logs``, ``outbound``, ``standard_webhooks``: environment, log format, HTTP requests, signatures
- ``errors``: the exceptions that Helios raises
"""
