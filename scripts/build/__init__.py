"""Builds and checks the deliverables: function archives, bills of materials, the OpenAPI document, audits."""
