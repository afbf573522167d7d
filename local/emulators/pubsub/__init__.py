"""A Pub/Sub emulator: the vendor's client libraries work on it unchanged, and it pushes the way Pub/Sub does.

``filters`` decides what a subscription gets, ``subscription`` who holds which message until when, ``broker`` ties
topics to subscriptions, ``journal`` keeps both across a restart, ``push`` delivers by HTTP (``post``) with the
``tokens`` that Google signs, ``services`` speaks gRPC.
"""
