"""A shop whose orders cross three clouds, with a known share of anomalies.

The path of an event: ``shop`` (an order and each cloud's payload for it) → ``anomalies`` (what goes wrong with it) →
``schedule`` (when each event is due) → ``queues`` (one queue per cloud, with retries) → a publisher (``webhook``,
``eventbridge``, ``pubsub`` or ``eventgrid``) → ``tally`` (counts the answers and checks them). ``endpoints`` decides
where the publishers send; ``run`` connects all of it and ``display`` shows the progress.
"""
