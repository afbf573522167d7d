"""The graph of the job: from the log of deliveries to the topics that the projector reads."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from pyflink.common import Configuration, Duration, SimpleStringSchema, Types, WatermarkStrategy
from pyflink.datastream import DataStream, KeyedStream, StreamExecutionEnvironment
from pyflink.datastream.connectors.base import DeliveryGuarantee
from pyflink.datastream.connectors.kafka import (
    KafkaOffsetsInitializer,
    KafkaRecordSerializationSchema,
    KafkaSink,
    KafkaSource,
)
from pyflink.datastream.formats.json import JsonRowSerializationSchema
from pyflink.java_gateway import get_gateway
from pyflink.util.java_utils import load_java_class

from helios.flink.operators import (
    ANNOUNCED,
    BROADCAST,
    COUNTS,
    DEAD_LETTERS,
    EVENTS,
    KEYED,
    OUT_OF_TURN,
    RECORD,
    Declarations,
    IdentifyFunction,
    JudgeFunction,
    ReadFunction,
    SilenceFunction,
    TallyFunction,
    TotalFunction,
)
from helios.messages import Topics, job_group

LATENESS_SECONDS = 3
"""How much later than the newest message of a partition an older one may be appended to it without coming after the
deadlines of its time. A verdict that it changes afterwards is corrected."""

IDLE_SECONDS = 30
"""After how long without any message, heartbeats included, a partition no longer holds up the time of the others."""

MAX_PARALLELISM = 720
"""The largest parallelism to which a savepoint can be taken up. It can't be changed for an existing savepoint; 720 can
be divided by most numbers of tasks."""

TRANSACTION_TIMEOUT_MS = 900_000
"""How long Kafka waits for the end of a transaction. If the job is down for longer, between a checkpoint and the commit
of its transactions, these are lost. At most the brokers' ``transaction.max.timeout.ms``, by default this value."""


class Log(NamedTuple):
    """The log that a job reads and writes.

    Attributes:
        brokers: the bootstrap servers.
        topics: its topics.
        properties: more properties of Kafka's Java client, such as those of TLS and SASL.
    """

    brokers: str
    topics: Topics
    properties: Mapping[str, str]


def build(environment: StreamExecutionEnvironment, log: Log, declarations: Declarations) -> None:
    """Add the job to an environment. Each operator has an id, under which a later version finds its state."""
    environment.set_max_parallelism(MAX_PARALLELISM)
    deliveries = environment.from_source(
        _source(log),
        # Kafka's time of a message: the brokers', if ``helios log create`` has made the topic. It passes per partition:
        # the slowest one decides.
        WatermarkStrategy.for_bounded_out_of_orderness(Duration.of_seconds(LATENESS_SECONDS)).with_idleness(
            Duration.of_seconds(IDLE_SECONDS)
        ),
        "deliveries",
        Types.STRING(),
    ).uid("deliveries")
    read = _named(deliveries.process(ReadFunction(declarations), output_type=KEYED), "read")
    rules = read.get_side_output(ANNOUNCED)
    identified = _named(
        _keyed(read).connect(rules.broadcast(BROADCAST)).process(IdentifyFunction(declarations), output_type=KEYED),
        "identify",
    )
    counts = read.get_side_output(COUNTS).union(identified.get_side_output(COUNTS))
    tally = _named(_keyed(counts).process(TallyFunction(declarations), output_type=KEYED), "tally")
    totals = _named(_keyed(tally).process(TotalFunction(declarations), output_type=RECORD), "total")
    silence = _named(
        totals.key_by(_one_key, key_type=Types.STRING())
        .connect(rules.broadcast(BROADCAST))
        .process(SilenceFunction(declarations), output_type=KEYED),
        "silence",
    ).set_parallelism(1)
    verdicts = _named(
        _keyed(identified.union(read.get_side_output(OUT_OF_TURN)))
        .connect(silence.union(rules).broadcast(BROADCAST))
        .process(JudgeFunction(declarations), output_type=RECORD),
        "judge",
    )
    dead_letters = read.get_side_output(DEAD_LETTERS).union(identified.get_side_output(DEAD_LETTERS))
    for stream, topic in (
        (identified.get_side_output(EVENTS), log.topics.events),
        (verdicts, log.topics.verdicts),
        (totals, log.topics.counts),
        (dead_letters, log.topics.dead_letters),
    ):
        stream.sink_to(_sink(log, topic)).name(topic).uid(topic.rpartition(".")[2] + "-sink")


def configuration(*, python: str, checkpoints: str, interval_ms: int, more: Mapping[str, str]) -> Configuration:
    """The settings of a job.

    Args:
        python: the interpreter with PyFlink and Helios on each TaskManager.
        checkpoints: a URL for checkpoints and savepoints.
        interval_ms: the time between two checkpoints, with which the messages of the job become visible.
        more: more settings, which win.
    """
    settings = {
        "python.execution-mode": "thread",
        "python.executable": python,
        "python.client.executable": python,
        "pipeline.object-reuse": "true",
        "state.backend.type": "rocksdb",
        "execution.checkpointing.mode": "EXACTLY_ONCE",
        "execution.checkpointing.interval": f"{interval_ms} ms",
        "execution.checkpointing.incremental": "true",
        "execution.checkpointing.dir": checkpoints,
        "execution.checkpointing.savepoint-dir": checkpoints,
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        "execution.checkpointing.num-retained": "3",
        "execution.checkpointing.tolerable-failed-checkpoints": "10",
        "restart-strategy.type": "exponential-delay",
        "restart-strategy.exponential-delay.initial-backoff": "1 s",
        "restart-strategy.exponential-delay.max-backoff": "10 s",
        **more,
    }
    result = Configuration()
    for name, value in settings.items():
        result.set_string(name, value)
    return result


def environment_of(settings: Configuration) -> StreamExecutionEnvironment:
    """An environment with these settings: that of the cluster that has started this program, or the one they name."""
    if settings.get_string("execution.target", "") != "remote":
        return StreamExecutionEnvironment.get_execution_environment(settings)
    # PyFlink's own way to an environment replaces the target by a cluster in this process.
    environment = get_gateway().jvm.org.apache.flink.streaming.api.environment.StreamExecutionEnvironment
    return StreamExecutionEnvironment(environment(settings._j_configuration))  # noqa: SLF001 - as PyFlink itself does


def _named(stream: Any, name: str) -> Any:
    """An operator's name, and its id, which must never change."""
    return stream.name(name).uid(name)


def _keyed(stream: DataStream) -> KeyedStream:
    """A stream of KEYED, by its keys. PyFlink's ``key_by`` has the same result, but calls Python for each message."""
    by_first_column = stream._j_data_stream.keyBy(  # noqa: SLF001 - as PyFlink itself does
        get_gateway().jvm.org.apache.flink.streaming.api.functions.python.KeyByKeySelector(),
        Types.ROW([Types.STRING()]).get_java_type_info(),
    )
    return KeyedStream(by_first_column, Types.STRING(), stream)


def _one_key(_: Any) -> str:
    return ""


def _source(log: Log) -> KafkaSource:
    builder = (
        KafkaSource.builder()
        .set_bootstrap_servers(log.brokers)
        .set_topics(log.topics.deliveries)
        .set_group_id(job_group(log.topics))
        .set_starting_offsets(KafkaOffsetsInitializer.earliest())
        .set_properties({"isolation.level": "read_committed", **log.properties})
    )
    # PyFlink offers Flink's own schemas only, whose one of texts fails on a message without a value.
    schema = (
        get_gateway().jvm.org.apache.flink.connector.kafka.source.reader.deserializer.KafkaRecordDeserializationSchema
    )
    text = "org.apache.flink.kafka.shaded.org.apache.kafka.common.serialization.StringDeserializer"
    builder._j_builder.setDeserializer(schema.valueOnly(load_java_class(text)))  # noqa: SLF001 - as PyFlink itself does
    return builder.build()


def _sink(log: Log, topic: str) -> KafkaSink:
    """Writes rows of a key and a value in transactions, which are committed with the checkpoints."""
    builder = (
        KafkaSink.builder()
        .set_bootstrap_servers(log.brokers)
        .set_delivery_guarantee(DeliveryGuarantee.EXACTLY_ONCE)
        .set_transactional_id_prefix(topic)
        .set_property("transaction.timeout.ms", str(TRANSACTION_TIMEOUT_MS))
        .set_property("compression.type", "lz4")
        .set_property("max.request.size", str(33_554_432))
    )
    for name, value in log.properties.items():
        builder = builder.set_property(name, value)
    schema = KafkaRecordSerializationSchema.builder().set_topic(topic)
    # PyFlink has no serialiser of one column: the key is a JSON object of the first one, and the value the second one.
    schema.set_key_serialization_schema(
        JsonRowSerializationSchema.Builder().with_type_info(Types.ROW_NAMED(["key"], [Types.STRING()])).build()
    )
    value = SimpleStringSchema()
    second = get_gateway().jvm.org.apache.flink.python.util.PythonConnectorUtils.SecondColumnSerializationSchema
    value._j_serialization_schema = second(value._j_serialization_schema)  # noqa: SLF001 - as PyFlink itself does
    schema.set_value_serialization_schema(value)
    return builder.set_record_serializer(schema.build()).build()
