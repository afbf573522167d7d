"""Authenticates senders: one authenticator for each kind of credentials. No module here depends on a web framework.

``oidc`` checks the bearer tokens of Google and Microsoft Entra, ``sns`` the signatures of Amazon SNS,
``hmac_signature`` those made with a shared secret, and ``secret`` a secret header. ``keys`` and ``certificates`` fetch
and cache the public keys for these checks. ``webhook_auth`` reads from the settings and the declared sources which
authenticators each endpoint has.
"""
