"""Commands that developers and the demo run; nothing that is deployed imports them.

- ``build`` - function archives, bills of materials, the OpenAPI document, the audit; ``local`` uses it
- ``deploy`` - Helios in AWS, Google Cloud and Azure: bootstrap, deploy, smoke test, redrive, destroy
- ``simulator`` - the traffic of a shop whose orders cross three clouds
- ``prove``, ``faults`` - injected anomalies and injected outages, and whether Helios keeps its promises
- ``bench`` - measurements
"""
