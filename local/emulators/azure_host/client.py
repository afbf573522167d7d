"""URLs of the local host, for its callers."""

from urllib.parse import urlencode


def event_grid_url(url: str, function: str, key: str) -> str:
    """The URL at which Event Grid delivers to this function: the endpoint URL of its subscription.

    Args:
        url: the URL of the host: ``http://127.0.0.1:7071``.
        function: the function's name.
        key: the system key ``eventgrid_extension``.
    """
    return f"{url}/runtime/webhooks/EventGrid?{urlencode({'functionName': function, 'code': key})}"
