"""Commands for developers and the demo. Deployed code does not import them.

- ``build`` - function archives, bills of materials, the OpenAPI document, checks; ``local`` imports it
- ``deploy`` - Helios in AWS, Google Cloud and Azure: bootstrap, deploy, smoke test, destroy
- ``redrive`` - events on which a cloud gave up
- ``simulator`` - the traffic of a shop whose orders cross three clouds
- ``prove``, ``faults`` - inject anomalies and outages, and check Helios' promises
- ``bench`` - measurements
"""
