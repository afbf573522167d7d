"""Builds the services of a process from its settings: the only package that connects ports with adapters.

- ``services``: what an entry point needs.
- ``process``: builds it, once per process or warm container.
- ``jobs``, ``archive``, ``kafka``: what only some processes need besides.
"""

from helios.bootstrap.archive import (
    ARCHIVE_THREADS,
    OpenArchive,
    ReadingLimits,
    archive_on,
    eraser,
    with_archive,
    with_archive_on_first_read,
)
from helios.bootstrap.jobs import balance_job, incident_job, recompute_job, recovery_job, replay_worker, sweep_alone
from helios.bootstrap.kafka import archive_reader, create_log, projection
from helios.bootstrap.process import build, build_edge, build_long_lived, configure, notification_targets, retention_job
from helios.bootstrap.services import Edge, LogEdge, Services

__all__ = [
    "ARCHIVE_THREADS",
    "Edge",
    "LogEdge",
    "OpenArchive",
    "ReadingLimits",
    "Services",
    "archive_on",
    "archive_reader",
    "balance_job",
    "build",
    "build_edge",
    "build_long_lived",
    "configure",
    "create_log",
    "eraser",
    "incident_job",
    "notification_targets",
    "projection",
    "recompute_job",
    "recovery_job",
    "replay_worker",
    "retention_job",
    "sweep_alone",
    "with_archive",
    "with_archive_on_first_read",
]
