"""The error for a FunctionApp that can't be hosted."""


class NotHostable(Exception):  # noqa: N818 - reads as the fact it is
    """The app can't be loaded, or uses a feature this host does not imitate; the message names the function."""
