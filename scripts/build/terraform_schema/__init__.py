"""Checks Terraform code against a provider's schema where the provider itself can't be had.

``extract`` reads the schema out of a CDK package of the provider, once per version; ``provider`` serves it to
Terraform; ``serve`` installs that and tells Terraform to use it. Names, arguments, blocks, types and references are
checked; what the vendor's own code would say about values is not.
"""
