"""The script: which fault comes when, what is sent meanwhile, and which promise it puts to the test."""

from collections.abc import Sequence

import msgspec

from scripts.faults.faults import (
    Churn,
    ConnectionLimit,
    Cut,
    DiskFull,
    Down,
    Fault,
    Flushed,
    Frozen,
    LambdaKilled,
    Nothing,
    Slow,
    StaleMarks,
    SupervisorKilled,
    Together,
)
from scripts.faults.orders import Load


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table.

    Attributes:
        name: of the fault.
        fault: what is done.
        load: what is sent meanwhile, in a full run.
        lasting: how many seconds the fault lasts.
        times: how often it comes.
        clouds: whether it needs the clouds' emulators.
        hosted: whether it needs a supervisor that can be killed.
        quick: whether the short form has it.
        measured: whether there is anything to recover from.
        felt: whether senders must have been asked to come again; it lasts longer than they are kept waiting.
    """

    name: str
    fault: Fault
    load: Load
    lasting: float = 2.0
    times: int = 1
    clouds: bool = False
    hosted: bool = False
    quick: bool = True
    measured: bool = True
    felt: bool = False


_HOOKS = Load(events=9000, rate=700)
_BOTH = Load(events=6000, rate=400, cloud_orders=200)

SCENARIOS: Sequence[Scenario] = (
    Scenario(name="no fault", fault=Nothing(), load=_HOOKS, measured=False),
    Scenario(
        name="duplicate storm, each event x 50",
        fault=Nothing(),
        load=Load(events=213, copies=50, rate=1500, flawed=0),
        measured=False,
    ),
    Scenario(
        name="shuffled, clocks wrong by 1 h",
        fault=Nothing(),
        load=Load(events=9000, rate=700, shuffled=True, skew=3600),
        measured=False,
    ),
    Scenario(name="poison share 10 %", fault=Nothing(), load=Load(events=9000, rate=700, poison=0.1), measured=False),
    Scenario(name="kill -9 API", fault=Down("api", kill=True), load=_HOOKS, lasting=0.5, times=3),
    Scenario(name="SIGTERM API", fault=Down("api", kill=False), load=_HOOKS, lasting=0.5, times=2),
    Scenario(name="Redis flushed", fault=Flushed(), load=_HOOKS, lasting=1.0, times=3),
    Scenario(name="kill -9 Redis", fault=Down("valkey", kill=True), load=_HOOKS),
    Scenario(name="Redis hangs (SIGSTOP)", fault=Frozen("valkey"), load=_HOOKS, lasting=3.0),
    Scenario(name="Redis 20 ms away", fault=Slow("valkey"), load=_HOOKS, lasting=3.0),
    Scenario(name="Redis marks without rows", fault=StaleMarks(), load=_HOOKS),
    Scenario(name="Postgres restarted", fault=Down("postgres", kill=False), load=_HOOKS),
    Scenario(name="kill -9 Postgres", fault=Down("postgres", kill=True), load=_HOOKS, times=2),
    Scenario(
        name="Postgres hangs (SIGSTOP)", fault=Frozen("postgres"), load=_HOOKS, lasting=25.0, quick=False, felt=True
    ),
    Scenario(name="Postgres 20 ms away", fault=Slow("postgres"), load=_HOOKS, lasting=3.0),
    Scenario(name="Postgres cut off", fault=Cut(), load=_HOOKS, times=2, quick=False),
    Scenario(name="connection limit (53300)", fault=ConnectionLimit(), load=_HOOKS, lasting=3.0),
    Scenario(name="Postgres' disk full", fault=DiskFull(), load=_HOOKS, lasting=5.0, quick=False),
    Scenario(name="WebSocket churn", fault=Churn(), load=_HOOKS, lasting=5.0, measured=False),
    Scenario(
        name="kill -9 Redis, API, Postgres at once",
        fault=Together(Down("valkey", "postgres", "api", kill=True), Churn()),
        load=Load(events=9000, rate=700, shuffled=True, skew=3600, poison=0.1, again=0.2),
    ),
    Scenario(name="clouds, no fault", fault=Nothing(), load=_BOTH, clouds=True, measured=False),
    Scenario(name="kill -9 Cloud Function", fault=Down("gcp-function", kill=True), load=_BOTH, clouds=True, times=2),
    Scenario(name="kill -9 Azure Function", fault=Down("azure-function", kill=True), load=_BOTH, clouds=True, times=2),
    Scenario(
        name="SIGTERM functions", fault=Down("gcp-function", "azure-function", kill=False), load=_BOTH, clouds=True
    ),
    Scenario(name="kill -9 Lambdas, relay too", fault=LambdaKilled(), load=_BOTH, clouds=True, times=2),
    Scenario(name="kill -9 Pub/Sub", fault=Down("pubsub", kill=True), load=_BOTH, clouds=True),
    Scenario(name="kill -9 Event Grid", fault=Down("eventgrid", kill=True), load=_BOTH, clouds=True),
    Scenario(name="clouds, kill -9 Postgres", fault=Down("postgres", kill=True), load=_BOTH, clouds=True),
    Scenario(
        name="clouds, everything at once",
        fault=Together(
            Down("valkey", "postgres", "api", "gcp-function", "azure-function", "pubsub", "eventgrid", kill=True),
            LambdaKilled(),
        ),
        load=_BOTH,
        clouds=True,
    ),
    Scenario(name="kill -9 supervisor", fault=SupervisorKilled(), load=_BOTH, clouds=True, hosted=True, times=2),
)
