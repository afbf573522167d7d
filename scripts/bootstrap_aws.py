"""``python -m scripts.bootstrap_aws``: once per account, the bucket for Terraform's state, and the root's settings.

The state holds passwords, so the bucket is private, encrypted and versioned. Running it twice changes nothing.
"""

import argparse
import sys
from collections.abc import Sequence

from scripts.clouds import CLOUDS, no_access
from scripts.steps import Step, carry_out
from scripts.written import written

_CLOUD = CLOUDS["aws"]
_PRIVATE = "BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=true,RestrictPublicBuckets=true"
_OLD_STATES = (
    '{"Rules":[{"ID":"old-states","Status":"Enabled","Filter":{},'
    '"NoncurrentVersionExpiration":{"NoncurrentDays":90},"AbortIncompleteMultipartUpload":{"DaysAfterInitiation":1}}]}'
)


def steps(*, region: str, bucket: str) -> list[Step]:
    """What has to be there before ``terraform init``."""
    s3 = ("aws", "s3api")
    named = ("--bucket", bucket, "--region", region)
    # us-east-1 is the one region that S3 refuses to be told.
    place = () if region == "us-east-1" else ("--create-bucket-configuration", f"LocationConstraint={region}")
    return [
        Step(
            f"make the bucket {bucket} for the state",
            (*s3, "create-bucket", *named, *place),
            unless=(*s3, "head-bucket", *named),
        ),
        Step(
            "close it to the public",
            (*s3, "put-public-access-block", *named, "--public-access-block-configuration", _PRIVATE),
        ),
        Step(
            "keep its old versions",
            (*s3, "put-bucket-versioning", *named, "--versioning-configuration", "Status=Enabled"),
        ),
        Step(
            "forget them after 90 days",
            (*s3, "put-bucket-lifecycle-configuration", *named, "--lifecycle-configuration", _OLD_STATES),
        ),
        written(_CLOUD.backend, {"bucket": bucket, "region": region}),
        written(_CLOUD.settings, {"region": region}),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, show the steps, and do them."""
    parser = argparse.ArgumentParser(prog="bootstrap_aws", description=__doc__)
    parser.add_argument("--region", required=True, help="where Helios will run, such as eu-central-1")
    parser.add_argument("--bucket", required=True, help="name for the state's bucket; all of S3 shares one namespace")
    parser.add_argument("--dry-run", action="store_true", help="only show what would be done")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    given = parser.parse_args(arguments)
    return carry_out(
        steps(region=given.region, bucket=given.bucket),
        missing=no_access(_CLOUD),
        dry_run=given.dry_run,
        yes=given.yes,
        program=parser.prog,
    )


if __name__ == "__main__":
    sys.exit(main())
