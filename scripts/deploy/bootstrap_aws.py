"""``python -m scripts.deploy.bootstrap_aws``: once per account, the state's bucket, the deployer's role, settings.

The state holds passwords, so the bucket is private, encrypted and versioned. Running it twice changes nothing.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from scripts.deploy.clouds import CLOUDS, no_access
from scripts.deploy.github_oidc import AUDIENCE_OF_AWS, ISSUER, repository, subject
from scripts.deploy.plan import Asked, Step, carry_out
from scripts.deploy.tfvars import write_once

_CLOUD = CLOUDS["aws"]
_PRIVATE = "BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=true,RestrictPublicBuckets=true"
_OLD_STATES = (
    '{"Rules":[{"ID":"old-states","Status":"Enabled","Filter":{},'
    '"NoncurrentVersionExpiration":{"NoncurrentDays":90},"AbortIncompleteMultipartUpload":{"DaysAfterInitiation":1}}]}'
)


_ROLE = "deploy-helios"
"""Not helios-deploy: it may change the roles that begin with helios-, and must not change itself."""
_MAY: Mapping[str, Any] = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Sid": "RolesOfHelios",
            "Effect": "Allow",
            "Action": ["iam:*Role", "iam:*RolePolicy", "iam:*RolePolicies", "iam:ListInstanceProfilesForRole"],
            "Resource": "arn:aws:iam::*:role/helios-*",
        }
    ],
}
"""What ``PowerUserAccess`` leaves out; passing a role to a function is among it."""
_ACCOUNT = ("aws", "sts", "get-caller-identity", "--query", "Account", "--output", "text")


def _trust(github: str | None) -> Asked:
    """Who may take the role: whom this account lets, or the main branch of a repository."""
    if github is None:
        who = {"Principal": {"AWS": "arn:aws:iam::ACCOUNT:root"}, "Action": "sts:AssumeRole"}
    else:
        issuer = ISSUER.removeprefix("https://")
        who = {
            "Principal": {"Federated": f"arn:aws:iam::ACCOUNT:oidc-provider/{issuer}"},
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": {"StringEquals": {f"{issuer}:aud": AUDIENCE_OF_AWS, f"{issuer}:sub": subject(github)}},
        }
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **who}]}
    before, _, after = json.dumps(policy).partition("ACCOUNT")
    return Asked(before, _ACCOUNT, after)


def _identity(github: str | None) -> list[Step]:
    """The role that deploys."""
    iam = ("aws", "iam")
    role = ("--role-name", _ROLE)
    provider = Asked("arn:aws:iam::", _ACCOUNT, f":oidc-provider/{ISSUER.removeprefix('https://')}")
    trusted = [
        Step(
            "let the account believe what GitHub says of its workflows",
            (*iam, "create-open-id-connect-provider", "--url", ISSUER, "--client-id-list", AUDIENCE_OF_AWS),
            unless=(*iam, "get-open-id-connect-provider", "--open-id-connect-provider-arn", provider),
        )
    ]
    return [
        *(trusted if github else []),
        Step(
            f"make the role {_ROLE}, which deploys",
            (*iam, "create-role", *role, "--assume-role-policy-document", _trust(github)),
            unless=(*iam, "get-role", *role),
        ),
        Step(
            f"say who may take it: {f'the main branch of {github}' if github else 'whom this account lets'}",
            (*iam, "update-assume-role-policy", *role, "--policy-document", _trust(github)),
        ),
        Step(
            "let it make everything but identities",
            (*iam, "attach-role-policy", *role, "--policy-arn", "arn:aws:iam::aws:policy/PowerUserAccess"),
        ),
        Step(
            "and the roles of the functions",
            (*iam, "put-role-policy", *role, "--policy-name", _ROLE, "--policy-document", json.dumps(_MAY)),
        ),
    ]


def steps(*, region: str, bucket: str, github: str | None = None) -> list[Step]:
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
        *_identity(github),
        write_once(_CLOUD.backend, {"bucket": bucket, "region": region}),
        write_once(_CLOUD.settings, {"region": region}),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, show the steps, and do them."""
    parser = argparse.ArgumentParser(prog="bootstrap_aws", description=__doc__)
    parser.add_argument("--region", required=True, help="where Helios will run, such as eu-central-1")
    parser.add_argument("--bucket", required=True, help="name for the state's bucket; all of S3 shares one namespace")
    parser.add_argument(
        "--github", type=repository, metavar="OWNER/NAME", help="whose main branch may deploy as the role"
    )
    parser.add_argument("--dry-run", action="store_true", help="only show what would be done")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    given = parser.parse_args(arguments)
    return carry_out(
        steps(region=given.region, bucket=given.bucket, github=given.github),
        missing=no_access(_CLOUD, tool_only=True),
        dry_run=given.dry_run,
        yes=given.yes,
        program=parser.prog,
    )


if __name__ == "__main__":
    sys.exit(main())
