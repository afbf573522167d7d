"""Why a FunctionApp can't be hosted."""


class NotHostable(Exception):  # noqa: N818 - reads as the fact it is
    """The app can't be loaded, or has something this host does not imitate; the message names the function."""
