"""The targets outside Helios that the settings allow."""

from helios.adapters.guarded_http import hosts_of
from helios.adapters.replay.webhook import WebhookTarget
from helios.errors import ConfigurationError, Rejected
from helios.model.replay import Target
from helios.ports.replay import ReplayTarget
from helios.settings import Settings
from helios.standard_webhooks import key_of

LIBRARIES = {"aws": "boto3", "gcp": "google-cloud-pubsub", "azure": "azure-eventgrid"}
"""The library that sends events to each cloud."""


class ConfiguredTargets:
    """Implements ``Targets`` from the settings."""

    def __init__(self, settings: Settings) -> None:
        """Read the settings.

        Raises:
            ConfigurationError: a setting has the wrong form, or the secret of the webhooks is missing.
        """
        self._hosts = hosts_of(settings.replay_hosts or "")
        self._keys = [
            key_of(secret, variable="HELIOS_REPLAY_SECRET") for secret in (settings.replay_secret or "").split()
        ]
        if self._hosts and not self._keys:
            raise ConfigurationError(
                "HELIOS_REPLAY_SECRET is not set. HELIOS_REPLAY_HOSTS requires it to sign requests."
            )
        self._topics = _topics(settings.replay_topics or "")
        self._eventgrid_secret = settings.replay_eventgrid_secret
        self._loopback = settings.trust_loopback

    def open(self, target: Target) -> ReplayTarget:
        """The webhook or the cloud's topic."""
        if target.kind == "webhook":
            return WebhookTarget(target.url or "", hosts=self._hosts, keys=self._keys, loopback=self._loopback)
        cloud = target.cloud or ""
        if (topic := self._topics.get(cloud)) is None:
            raise Rejected(f"has no topic for {cloud}: add one to HELIOS_REPLAY_TOPICS", field="target.cloud")
        # Imported here: each needs a library that few processes have.
        try:
            return self._open_topic(cloud, topic)
        except ImportError as error:
            reason = f"{cloud} requires {LIBRARIES[cloud]}, which is not installed here"
            raise Rejected(reason, field="target.cloud") from error

    def _open_topic(self, cloud: str, topic: str) -> ReplayTarget:
        if cloud == "aws":
            from helios.adapters.replay.eventbridge import EventBridgeTarget

            return EventBridgeTarget(topic)
        if cloud == "gcp":
            from helios.adapters.replay.pubsub import PubSubTarget

            return PubSubTarget(topic)
        from helios.adapters.replay.eventgrid import EventGridTarget

        if self._eventgrid_secret is None:
            raise Rejected("azure requires HELIOS_REPLAY_EVENTGRID_SECRET, which is not set", field="target.cloud")
        return EventGridTarget(topic, self._eventgrid_secret)


def _topics(setting: str) -> dict[str, str]:
    """The topics by cloud.

    Raises:
        ConfigurationError: an entry is not CLOUD=TOPIC.
    """
    topics = dict(entry.partition("=")[::2] for entry in setting.split())
    if any(cloud not in LIBRARIES or not topic for cloud, topic in topics.items()):
        raise ConfigurationError(
            "HELIOS_REPLAY_TOPICS: write aws=BUS gcp=projects/P/topics/T azure=https://.../api/events"
        )
    return topics
