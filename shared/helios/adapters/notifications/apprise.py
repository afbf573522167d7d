"""Notifies by Apprise: Slack, Teams, PagerDuty and mail."""

from typing import Any, Final

from apprise import AppriseAsset, NotifyFormat, NotifyType
from apprise.plugins.email import NotifyEmail
from apprise.plugins.pagerduty import NotifyPagerDuty
from apprise.plugins.slack import NotifySlack
from apprise.plugins.workflows import NotifyWorkflows

from helios.adapters.guarded_http import check_host
from helios.adapters.notifications.webhook import PRIVATE_HINT
from helios.adapters.notifications.words import body_of, title_of
from helios.errors import ConfigurationError, Rejected, TargetUnavailable
from helios.model.incidents import Severity
from helios.model.notifications import Message, ReceiverKind

SCHEMES: Final[dict[ReceiverKind, tuple[str, ...]]] = {
    "slack": ("slack",),
    "teams": ("workflow", "workflows"),
    "pagerduty": ("pagerduty",),
    "mail": ("mailto", "mailtos"),
}
"""The URLs of Apprise that each kind may have."""

PLUGINS: Final[dict[ReceiverKind, Any]] = {
    "slack": NotifySlack,
    "teams": NotifyWorkflows,
    "pagerduty": NotifyPagerDuty,
    "mail": NotifyEmail,
}
"""The plugin of each kind. Apprise itself would load all of its plugins to find one, and some of them run programs."""

_TYPES: Final[dict[Severity, NotifyType]] = {
    "info": NotifyType.INFO,
    "warning": NotifyType.WARNING,
    "error": NotifyType.FAILURE,
    "critical": NotifyType.FAILURE,
}


class AppriseNotifications:
    """Implements ``NotificationTarget`` with a plugin of Apprise."""

    def __init__(self, kind: ReceiverKind, url: str, *, private: bool, loopback: bool, field: str) -> None:
        """Check the URL. Nothing is resolved or connected yet.

        Args:
            kind: the kind of receiver.
            url: the URL of Apprise. It is a secret, so that no error quotes it.
            private: whether its host may have an address of a private network.
            loopback: whether this machine itself is an allowed target.
            field: the name of the URL for errors.

        Raises:
            ConfigurationError: the URL is malformed, or of another kind.
        """
        self._kind = kind
        self._url = url
        self._private = private
        self._loopback = loopback
        self._asset = AppriseAsset(app_id="Helios", app_url="", http_redirects=False, plugin_paths=[])
        try:
            self._plugin()
        except TypeError as error:
            forms = " or ".join(f"{scheme}://" for scheme in SCHEMES[kind])
            raise ConfigurationError(f"{field}: expected a URL of Apprise that begins with {forms}") from error

    def send(self, message: Message) -> None:
        """Send the message in words. PagerDuty keeps one incident for each of Helios, by its deduplication key.

        Raises:
            TargetUnavailable: Apprise could not send it; its own log line says why.
        """
        parameters = self._pagerduty(message) if self._kind == "pagerduty" else {}
        plugin = self._plugin(**parameters)
        self._check_address(plugin)
        sent = plugin.notify(
            title=title_of(message),
            body=body_of(message),
            notify_type=_type(message),
            body_format=NotifyFormat.TEXT,
        )
        if not sent:
            raise TargetUnavailable(f"Apprise could not send to {message.receiver}; see its log line")

    def _plugin(self, **parameters: str) -> Any:
        """A plugin for one message.

        Raises:
            TypeError: the URL is malformed or of another kind: the error of the plugins themselves.
        """
        plugin = PLUGINS[self._kind]
        if self._url.partition("://")[0].lower() not in SCHEMES[self._kind]:
            raise TypeError("another scheme")
        separator = "&" if "?" in self._url else "?"
        query = "&".join(f"{name}={value}" for name, value in parameters.items())
        parsed = plugin.parse_url(f"{self._url}{separator}{query}" if query else self._url)
        if parsed is None:
            raise TypeError("malformed")
        return plugin(**parsed | {"asset": self._asset})

    def _pagerduty(self, message: Message) -> dict[str, str]:
        if not message.transitions:
            return {"dedup": message.id, "action": "trigger", "severity": "info"}
        incident = message.transitions[0].incident
        return {"dedup": incident.key, "action": "map", "severity": incident.severity}

    def _check_address(self, plugin: Any) -> None:
        """Return if the host that a plugin connects to has allowed addresses only.

        The hosts of Slack and PagerDuty are fixed. Apprise resolves the name again when it connects.
        """
        host = {"teams": "host", "mail": "smtp_host"}.get(self._kind)
        if host is None:
            return
        try:
            check_host(getattr(plugin, host), plugin.port or 443, private=self._private, loopback=self._loopback)
        except Rejected as error:
            raise TargetUnavailable(f"the host {error.reason}: {PRIVATE_HINT}") from error


def _type(message: Message) -> NotifyType:
    if not message.transitions:
        return NotifyType.INFO
    if all(transition.what == "resolved" for transition in message.transitions):
        return NotifyType.SUCCESS
    return max(
        (_TYPES[transition.incident.severity] for transition in message.transitions if transition.what != "resolved"),
        key=list(_TYPES.values()).index,
    )
