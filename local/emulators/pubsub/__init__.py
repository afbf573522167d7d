"""A Pub/Sub emulator: the vendor's client libraries work with it unchanged, and it pushes messages as Pub/Sub does.

``filters`` selects the messages of a subscription, ``subscription`` leases them, ``snapshots`` retains them. ``state``
stores all of it, with ``journal`` across a restart; ``broker`` routes messages from topics to subscriptions, and
``seek`` delivers them again. ``publisher``, ``subscriber`` and ``streaming`` are the methods of the API, which
``grpc_server`` and ``rest`` serve on one ``port``. ``push`` delivers by HTTP (``post``) with ``tokens`` in the form of
Google's.
"""
