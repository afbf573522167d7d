"""``python -m scripts.bootstrap_gcp``: once per project, its services and the bucket for Terraform's state.

The state holds passwords, so the bucket is private and versioned. Running it twice changes nothing.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from scripts.clouds import CLOUDS, no_access
from scripts.steps import Step, carry_out
from scripts.written import written

_CLOUD = CLOUDS["gcp"]
_PUBSUB = "pubsub.googleapis.com"
_SERVICES = ("cloudresourcemanager.googleapis.com", "iam.googleapis.com", "serviceusage.googleapis.com", _PUBSUB)
"""What Terraform needs to enable the others itself."""


def steps(*, project: str, region: str, bucket: str) -> list[Step]:
    """What has to be there before ``terraform init``."""
    within = ("--project", project)
    url = f"gs://{bucket}"
    storage = ("gcloud", "storage", "buckets")
    private = ("--uniform-bucket-level-access", "--public-access-prevention")
    return [
        Step("enable the services that Terraform begins with", ("gcloud", "services", "enable", *_SERVICES, *within)),
        Step(
            "make Pub/Sub's own account, which a new project lacks, so that Terraform can give it its roles",
            ("gcloud", "beta", "services", "identity", "create", "--service", _PUBSUB, "--quiet", *within),
        ),
        Step(
            f"make the bucket {bucket} for the state",
            (*storage, "create", url, *within, "--location", region, *private),
            unless=(*storage, "describe", url, *within),
        ),
        Step("keep its old versions", (*storage, "update", url, "--versioning", *within)),
        written(_CLOUD.backend, {"bucket": bucket}),
        written(_CLOUD.settings, {"project": project, "region": region}),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, show the steps, and do them."""
    parser = argparse.ArgumentParser(prog="bootstrap_gcp", description=__doc__)
    parser.add_argument("--region", required=True, help="where Helios will run, such as europe-west3")
    parser.add_argument(
        "--bucket", required=True, help="name for the state's bucket; all of Cloud Storage shares one namespace"
    )
    parser.add_argument("--dry-run", action="store_true", help="only show what would be done")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    given = parser.parse_args(arguments)
    project = os.environ.get("GOOGLE_CLOUD_PROJECT") or "GOOGLE_CLOUD_PROJECT"
    return carry_out(
        steps(project=project, region=given.region, bucket=given.bucket),
        missing=no_access(_CLOUD),
        dry_run=given.dry_run,
        yes=given.yes,
        program=parser.prog,
    )


if __name__ == "__main__":
    sys.exit(main())
