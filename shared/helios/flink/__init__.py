"""The job on Apache Flink: reads the log of deliveries, and judges with the code that Postgres' reconciler runs.

``steps`` has what happens to one message, as pure functions; ``operators`` gives them Flink's state and timers; ``job``
connects them to a graph between the topics; ``command`` starts it. Only ``operators`` and ``job`` import PyFlink.

    deliveries ──Read──► Identify ──────► Judge ──► verdicts
                   │        │  └► events    ▲
                   ├────────┴► dead-letters │ silent sources
                   └────────┴► Tally ──► Total ──► counts
"""
