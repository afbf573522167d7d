"""Who may send: one guard per proof that a sender can carry; none of them knows a web framework.

``oidc`` checks the bearer tokens of Google and Microsoft Entra, ``sns`` Amazon SNS' signature, ``hmac_signature`` that
of Standard Webhooks, ``secret`` a secret header. ``keys`` and ``certificates`` fetch and remember what they check with,
and ``webhook_auth`` says which of them stand at which way in.
"""
