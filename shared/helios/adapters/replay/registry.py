"""The targets outside of Helios that the settings allow."""

from helios.adapters.replay.webhook import WebhookTarget, hosts_of
from helios.errors import ConfigurationError, Rejected
from helios.model.replay import Target
from helios.ports.replay import ReplayTarget
from helios.settings import Settings
from helios.standard_webhooks import key_of

LIBRARIES = {"aws": "boto3", "gcp": "google-cloud-pubsub", "azure": "azure-eventgrid"}
"""What each cloud's own events are sent with."""


class ConfiguredTargets:
    """Keeps ``Targets``."""

    def __init__(self, settings: Settings) -> None:
        """Read the settings.

        Raises:
            ConfigurationError: one of them is of another form.
        """
        self._hosts = hosts_of(settings.replay_hosts or "")
        self._keys = [key_of(one, variable="HELIOS_REPLAY_SECRET") for one in (settings.replay_secret or "").split()]
        if self._hosts and not self._keys:
            raise ConfigurationError("HELIOS_REPLAY_HOSTS is set, which takes HELIOS_REPLAY_SECRET to sign with")
        self._topics = _topics(settings.replay_topics or "")
        self._eventgrid_secret = settings.replay_eventgrid_secret
        self._loopback = settings.trust_loopback

    def open(self, target: Target) -> ReplayTarget:
        """A webhook or a cloud's topic."""
        if target.kind == "webhook":
            return WebhookTarget(target.url or "", hosts=self._hosts, keys=self._keys, loopback=self._loopback)
        cloud = target.cloud or ""
        if (topic := self._topics.get(cloud)) is None:
            raise Rejected(f"has no topic for {cloud}: HELIOS_REPLAY_TOPICS names none", field="target.cloud")
        # Late: each takes a library that hardly any process has.
        try:
            return self._open(cloud, topic)
        except ImportError as error:
            reason = f"{cloud} takes {LIBRARIES[cloud]}, which this process does not have"
            raise Rejected(reason, field="target.cloud") from error

    def _open(self, cloud: str, topic: str) -> ReplayTarget:
        if cloud == "aws":
            from helios.adapters.replay.eventbridge import EventBridgeTarget

            return EventBridgeTarget(topic)
        if cloud == "gcp":
            from helios.adapters.replay.pubsub import PubSubTarget

            return PubSubTarget(topic)
        from helios.adapters.replay.eventgrid import EventGridTarget

        if self._eventgrid_secret is None:
            raise Rejected("azure takes HELIOS_REPLAY_EVENTGRID_SECRET, which is not set", field="target.cloud")
        return EventGridTarget(topic, self._eventgrid_secret)


def _topics(setting: str) -> dict[str, str]:
    """By cloud.

    Raises:
        ConfigurationError: something in it is no CLOUD=TOPIC.
    """
    topics = dict(one.partition("=")[::2] for one in setting.split())
    if any(cloud not in LIBRARIES or not topic for cloud, topic in topics.items()):
        raise ConfigurationError(
            "HELIOS_REPLAY_TOPICS: write aws=BUS gcp=projects/P/topics/T azure=https://.../api/events"
        )
    return topics
