"""Installs Apache Kafka from Maven Central.

``python -m local.servers.apache_kafka.jars`` installs it. With ``--lock`` it writes the checksums of what Maven
resolves, after a change of ``pom.xml``.
"""

from pathlib import Path
from typing import Final

from local.servers.maven import Jars, main

OLDEST_JAVA: Final = 17
"""Brokers of Kafka 4 need Java 17 (Apache Kafka, "Compatibility", "Java")."""

JARS: Final = Jars("Apache Kafka", Path(__file__).parent, oldest_java=OLDEST_JAVA)

if __name__ == "__main__":
    main(JARS)
