"""A small local host for Azure Functions written in Python's v2 programming model. It is not the Azure runtime.

``function_app`` loads the app's ``FunctionApp`` object and checks that this host supports it; ``host_json`` reads its
``host.json``. ``invocation`` calls a function through azure-functions' own converters; ``http_trigger``,
``event_grid_trigger``, ``timer_trigger`` (with ``ncrontab``) and ``admin`` are its entry points, protected by ``keys``.
``server`` serves them at the URLs of the real host. The README lists what is imitated and what is not.
"""
