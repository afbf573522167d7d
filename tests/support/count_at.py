"""``python -m tests.support.count_at TIME``: one turn of the balances and of the incidents, as if at this time.

The settings come from the environment, as those of a process that sweeps.
"""

import sys
from datetime import datetime

from helios import bootstrap


def main() -> None:
    """Run both jobs once."""
    now = datetime.fromisoformat(sys.argv[1])
    services = bootstrap.build(bootstrap.configure())
    balances, incidents = bootstrap.balance_job(services), bootstrap.incident_job(services)
    assert balances
    assert incidents
    balances.run(now)
    incidents.run(now)
    services.listener.close()
    services.close()


if __name__ == "__main__":
    main()
