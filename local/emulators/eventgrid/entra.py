"""Microsoft Entra: issues the tokens of Event Grid's deliveries.

Microsoft's "Secure webhook delivery with Microsoft Entra ID"; "Access tokens" describes the claims of a token.
"""

from local.emulators.eventgrid.subscription import Subscription
from local.emulators.issuer import Issuer

EVENT_GRID = "4962773b-9cdb-44cf-a8bf-237846a00ab7"
"""The application id of Event Grid, the same in every tenant."""


class Entra:
    """Issues Event Grid's tokens for any tenant, signed with one key.

    Attributes:
        keys: the JSON Web Key Set, in the form of ``https://login.microsoftonline.com/TENANT/discovery/v2.0/keys``.
    """

    def __init__(self) -> None:
        """Generate the key."""
        self._issuer = Issuer()
        self.keys = self._issuer.keys

    def headers(self, subscription: Subscription) -> dict[str, str]:
        """The header with the token for a subscription's deliveries; empty if it sets no tenant and application."""
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
