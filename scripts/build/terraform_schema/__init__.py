"""Checks Terraform code against a provider's schema where the provider itself is not available.

``extract`` reads the schema from a CDK package of the provider, once per version; ``provider`` serves the schema to
Terraform; ``serve`` installs that and configures Terraform to use it. The check covers names, arguments, blocks, types
and references, but not the provider's own validation of values.
"""
