"""An emulator of Azure Event Grid's custom topics (basic tier) with webhook subscriptions, for this machine only.

``topic`` and ``subscription`` describe the configuration, with the names of Azure Resource Manager. ``keys`` checks a
publish and ``schemas`` parses it; ``filters`` select the subscriptions; the subscription's ``journal`` stores the
events on disk; ``delivery`` posts them in the form of ``payload`` by the rules of ``retry``, or writes them to
``dead_letters``. ``handshake`` asks an endpoint for its consent first, and ``entra`` issues the tokens that an endpoint
may require. ``emulator`` combines these modules, ``running`` has the state in memory and ``store`` the state on disk,
``server`` is the HTTP server, and ``client`` sets up topics: ``ensure``. The README lists what is imitated.
"""
