"""A Pub/Sub emulator: the vendor's client libraries work with it unchanged, and it pushes messages as Pub/Sub does.

``filters`` selects the messages of a subscription, ``subscription`` leases them, ``broker`` routes messages from topics
to subscriptions, ``journal`` stores both across a restart, ``push`` delivers by HTTP (``post``) with ``tokens`` in the
form of Google's, ``services`` implements the gRPC services.
"""
