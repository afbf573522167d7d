"""``python -m tests.support.notify_at TIME``: one turn of the incidents and of their notifications, as if at this time.

The settings come from the environment, as those of a process that sweeps.
"""

import sys
from datetime import datetime

from helios import bootstrap


def main() -> None:
    """Run both jobs once."""
    now = datetime.fromisoformat(sys.argv[1])
    services = bootstrap.build(bootstrap.configure())
    incidents = bootstrap.incident_job(services)
    assert incidents
    assert services.notifications
    incidents.run(now)
    services.notifications.run(now)
    services.listener.close()
    services.close()


if __name__ == "__main__":
    main()
