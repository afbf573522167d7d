"""Microsoft Entra, as far as Event Grid asks it for the tokens of its deliveries.

Microsoft's "Secure webhook delivery with Microsoft Entra ID", and "Access tokens" for what stands in one.
"""

from local.emulators.eventgrid.subscription import Subscription
from local.emulators.issuer import Issuer

EVENT_GRID = "4962773b-9cdb-44cf-a8bf-237846a00ab7"
"""The application in whose name Event Grid asks, the same in every tenant."""


class Entra:
    """Gives Event Grid tokens of any tenant, signed with one key.

    Attributes:
        keys: the JSON Web Key Set, as ``https://login.microsoftonline.com/TENANT/discovery/v2.0/keys`` shows it.
    """

    def __init__(self) -> None:
        """Make the key."""
        self._issuer = Issuer()
        self.keys = self._issuer.keys

    def headers(self, subscription: Subscription) -> dict[str, str]:
        """What a delivery carries for this subscription: a token, if it names a tenant and an application."""
        webhook = subscription.webhook
        tenant = webhook.azure_active_directory_tenant_id
        application = webhook.azure_active_directory_application_id_or_uri
        if not (tenant and application):
            return {}
        claims = {
            "iss": f"https://sts.windows.net/{tenant}/",
            "aud": application,
            "appid": EVENT_GRID,
            "tid": tenant,
            "ver": "1.0",
        }
        return {"Authorization": f"Bearer {self._issuer.token(claims)}"}
