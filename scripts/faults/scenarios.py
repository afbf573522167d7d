"""The scenarios: which fault is injected, and what is sent meanwhile."""

from collections.abc import Sequence

import msgspec

from scripts.faults.faults import (
    Churn,
    Combined,
    ConnectionLimit,
    Cut,
    DiskFull,
    Down,
    Fault,
    Flushed,
    Frozen,
    LambdaKilled,
    NoFault,
    Slow,
    StaleMarks,
    SupervisorKilled,
)
from scripts.faults.orders import Load


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table.

    Attributes:
        name: the name of the fault.
        fault: the fault to inject.
        load: the traffic meanwhile, in a full run.
        seconds: how long the fault lasts.
        repetitions: how often the fault is injected.
        clouds: whether the scenario needs the clouds' emulators.
        hosted: whether the scenario needs a supervisor that can be killed.
        in_short_run: whether the scenario is part of a short run.
        has_recovery: whether there is a recovery to measure.
        must_refuse: whether Helios must refuse some requests, because the fault lasts longer than its timeouts.
    """

    name: str
    fault: Fault
    load: Load
    seconds: float = 2.0
    repetitions: int = 1
    clouds: bool = False
    hosted: bool = False
    in_short_run: bool = True
    has_recovery: bool = True
    must_refuse: bool = False


_WEBHOOKS = Load(events=9000, rate=700)
_BOTH = Load(events=6000, rate=400, cloud_orders=200)

SCENARIOS: Sequence[Scenario] = (
    Scenario(name="no fault", fault=NoFault(), load=_WEBHOOKS, has_recovery=False),
    Scenario(
        name="duplicate storm, each event x 50",
        fault=NoFault(),
        load=Load(events=213, copies=50, rate=1500, faulty=0),
        has_recovery=False,
    ),
    Scenario(
        name="shuffled, clocks wrong by 1 h",
        fault=NoFault(),
        load=Load(events=9000, rate=700, shuffled=True, skew=3600),
        has_recovery=False,
    ),
    Scenario(
        name="poison share 10 %", fault=NoFault(), load=Load(events=9000, rate=700, poison=0.1), has_recovery=False
    ),
    Scenario(name="kill -9 API", fault=Down("api", kill=True), load=_WEBHOOKS, seconds=0.5, repetitions=3),
    Scenario(name="SIGTERM API", fault=Down("api", kill=False), load=_WEBHOOKS, seconds=0.5, repetitions=2),
    Scenario(name="Redis flushed", fault=Flushed(), load=_WEBHOOKS, seconds=1.0, repetitions=3),
    Scenario(name="kill -9 Redis", fault=Down("valkey", kill=True), load=_WEBHOOKS),
    Scenario(name="Redis hangs (SIGSTOP)", fault=Frozen("valkey"), load=_WEBHOOKS, seconds=3.0),
    Scenario(name="Redis 20 ms away", fault=Slow("valkey"), load=_WEBHOOKS, seconds=3.0),
    Scenario(name="Redis marks without rows", fault=StaleMarks(), load=_WEBHOOKS),
    Scenario(name="Postgres restarted", fault=Down("postgres", kill=False), load=_WEBHOOKS),
    Scenario(name="kill -9 Postgres", fault=Down("postgres", kill=True), load=_WEBHOOKS, repetitions=2),
    Scenario(
        name="Postgres hangs (SIGSTOP)",
        fault=Frozen("postgres"),
        load=_WEBHOOKS,
        seconds=25.0,
        in_short_run=False,
        must_refuse=True,
    ),
    Scenario(name="Postgres 20 ms away", fault=Slow("postgres"), load=_WEBHOOKS, seconds=3.0),
    Scenario(name="Postgres cut off", fault=Cut(), load=_WEBHOOKS, repetitions=2, in_short_run=False),
    Scenario(name="connection limit (53300)", fault=ConnectionLimit(), load=_WEBHOOKS, seconds=3.0),
    Scenario(name="Postgres' disk full", fault=DiskFull(), load=_WEBHOOKS, seconds=5.0, in_short_run=False),
    Scenario(name="WebSocket churn", fault=Churn(), load=_WEBHOOKS, seconds=5.0, has_recovery=False),
    Scenario(
        name="kill -9 Redis, API, Postgres at once",
        fault=Combined(Down("valkey", "postgres", "api", kill=True), Churn()),
        load=Load(events=9000, rate=700, shuffled=True, skew=3600, poison=0.1, redelivered=0.2),
    ),
    Scenario(name="clouds, no fault", fault=NoFault(), load=_BOTH, clouds=True, has_recovery=False),
    Scenario(
        name="kill -9 Cloud Function", fault=Down("gcp-function", kill=True), load=_BOTH, clouds=True, repetitions=2
    ),
    Scenario(
        name="kill -9 Azure Function", fault=Down("azure-function", kill=True), load=_BOTH, clouds=True, repetitions=2
    ),
    Scenario(
        name="SIGTERM functions", fault=Down("gcp-function", "azure-function", kill=False), load=_BOTH, clouds=True
    ),
    Scenario(name="kill -9 Lambdas, relay too", fault=LambdaKilled(), load=_BOTH, clouds=True, repetitions=2),
    Scenario(name="kill -9 Pub/Sub", fault=Down("pubsub", kill=True), load=_BOTH, clouds=True),
    Scenario(name="kill -9 Event Grid", fault=Down("eventgrid", kill=True), load=_BOTH, clouds=True),
    Scenario(name="clouds, kill -9 Postgres", fault=Down("postgres", kill=True), load=_BOTH, clouds=True),
    Scenario(
        name="clouds, everything at once",
        fault=Combined(
            Down("valkey", "postgres", "api", "gcp-function", "azure-function", "pubsub", "eventgrid", kill=True),
            LambdaKilled(),
        ),
        load=_BOTH,
        clouds=True,
    ),
    Scenario(name="kill -9 supervisor", fault=SupervisorKilled(), load=_BOTH, clouds=True, hosted=True, repetitions=2),
)
