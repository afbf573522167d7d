"""The OpenID Connect tokens that push requests carry, and the certificates to check them with."""

from local.emulators.certificate import self_signed
from local.emulators.issuer import Issuer

ISSUER = "https://accounts.google.com"


class Signer:
    """Signs as Google does.

    Attributes:
        certificates: key id to PEM certificate, as ``https://www.googleapis.com/oauth2/v1/certs`` shows them.
        keys: the same as a JSON Web Key Set, as ``/oauth2/v3/certs`` does.
    """

    def __init__(self) -> None:
        self._issuer = Issuer()
        self.certificates = {self._issuer.key_id: self_signed(self._issuer.key, "helios local Pub/Sub")}
        self.keys = self._issuer.keys

    def token(self, *, audience: str, email: str) -> str:
        """A token for this audience in this service account's name."""
        return self._issuer.token(
            {
                "iss": ISSUER,
                "aud": audience,
                "azp": email,
                "sub": "113774264463038321964",
                "email": email,
                "email_verified": True,
            }
        )
