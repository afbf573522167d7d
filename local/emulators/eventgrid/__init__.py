"""An emulator of Azure Event Grid's custom topics (basic tier) with webhook subscriptions, for this machine only.

``topic`` and ``subscription`` describe what is configured, in Azure Resource Manager's words. A publish is checked by
``keys`` and read by ``schemas``; ``filters`` tell which subscriptions want it; the subscription's ``journal`` keeps it
on disk; ``delivery`` posts it as ``payload`` writes it, by the rules of ``retry``, or gives it up to ``dead_letters``.
``handshake`` asks an endpoint for its consent first, and ``entra`` gives the tokens that it may want to see.
``emulator`` puts these together, ``running`` holds what is at work and ``store`` what outlives the process, ``server``
speaks HTTP, and ``client`` is for those who set it up: ``ensure``. The README says what is imitated, and what is not.
"""
