"""URLs of the local host, for those who set it up or call it."""

from urllib.parse import urlencode


def event_grid_url(url: str, function: str, key: str) -> str:
    """Where Event Grid delivers to this function: the endpoint URL of its subscription.

    Args:
        url: the host's: ``http://127.0.0.1:7071``.
        function: the function's name.
        key: the system key ``eventgrid_extension``.
    """
    return f"{url}/runtime/webhooks/EventGrid?{urlencode({'functionName': function, 'code': key})}"
