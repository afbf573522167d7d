"""A small local host for Azure Functions written in Python's v2 programming model. It is not the Azure runtime.

``function_app`` loads the developer's own ``FunctionApp`` object and tells what can be hosted; ``host_json`` reads its
``host.json``. ``invocation`` calls a function through azure-functions' own converters; ``http_trigger``,
``event_grid_trigger``, ``timer_trigger`` (with ``ncrontab``) and ``admin`` are the ways in, guarded by ``keys``.
``server`` puts them behind the URLs of the real host. The README says what is imitated, and what is not.
"""
