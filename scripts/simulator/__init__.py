"""A shop whose orders cross three clouds, with a known share of faults.

The way of an event: ``shop`` (an order and what each cloud says of it) → ``anomalies`` (what goes wrong with it) →
``schedule`` (when each event is due) → ``lanes`` (one queue for each cloud, with retries) → a publisher
(``webhook``, ``eventbridge``, ``pubsub`` or ``eventgrid``) → ``tally`` (what was answered, and was it right).
``endpoints`` decides where the publishers send; ``run`` drives it all and ``display`` shows it.
"""
