"""Builds and checks what is shipped: function archives, bills of materials, the OpenAPI document, the audit."""
