"""``python -m scripts.deploy.bootstrap_aws``: creates the state's bucket, the deployer's role and settings files.

Run it once per account; a second run changes nothing. The state contains passwords, so the bucket is private,
encrypted and versioned.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from scripts.deploy.clouds import CLOUDS, no_access
from scripts.deploy.github_oidc import AUDIENCE_OF_AWS, ISSUER, repository, subject
from scripts.deploy.plan import CommandOutput, Step, carry_out
from scripts.deploy.tfvars import write_once

_CLOUD = CLOUDS["aws"]
_PRIVATE = "BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=true,RestrictPublicBuckets=true"
_OLD_STATES = (
    '{"Rules":[{"ID":"old-states","Status":"Enabled","Filter":{},'
    '"NoncurrentVersionExpiration":{"NoncurrentDays":90},"AbortIncompleteMultipartUpload":{"DaysAfterInitiation":1}}]}'
)


_ROLE = "deploy-helios"
"""Not ``helios-deploy``: the role may change roles that begin with ``helios-``, and must not change itself."""
_ROLE_POLICY: Mapping[str, Any] = {
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
"""The permissions that ``PowerUserAccess`` lacks, such as passing a role to a function."""
_ACCOUNT = ("aws", "sts", "get-caller-identity", "--query", "Account", "--output", "text")


def _trust(github: str | None) -> CommandOutput:
    """The role's trust policy: for principals of this account, or for the main branch of a repository."""
    if github is None:
        grant = {"Principal": {"AWS": "arn:aws:iam::ACCOUNT:root"}, "Action": "sts:AssumeRole"}
    else:
        issuer = ISSUER.removeprefix("https://")
        grant = {
            "Principal": {"Federated": f"arn:aws:iam::ACCOUNT:oidc-provider/{issuer}"},
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": {"StringEquals": {f"{issuer}:aud": AUDIENCE_OF_AWS, f"{issuer}:sub": subject(github)}},
        }
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **grant}]}
    before, _, after = json.dumps(policy).partition("ACCOUNT")
    return CommandOutput(before, _ACCOUNT, after)


def _identity(github: str | None) -> list[Step]:
    """The steps that create the deployer's role."""
    iam = ("aws", "iam")
    role = ("--role-name", _ROLE)
    provider = CommandOutput("arn:aws:iam::", _ACCOUNT, f":oidc-provider/{ISSUER.removeprefix('https://')}")
    trusted = [
        Step(
            "add GitHub as an identity provider",
            (*iam, "create-open-id-connect-provider", "--url", ISSUER, "--client-id-list", AUDIENCE_OF_AWS),
            unless=(*iam, "get-open-id-connect-provider", "--open-id-connect-provider-arn", provider),
        )
    ]
    return [
        *(trusted if github else []),
        Step(
            f"create the role {_ROLE} for deployments",
            (*iam, "create-role", *role, "--assume-role-policy-document", _trust(github)),
            unless=(*iam, "get-role", *role),
        ),
        Step(
            f"allow {f'the main branch of {github}' if github else 'this account'} to assume the role",
            (*iam, "update-assume-role-policy", *role, "--policy-document", _trust(github)),
        ),
        Step(
            "attach PowerUserAccess to the role",
            (*iam, "attach-role-policy", *role, "--policy-arn", "arn:aws:iam::aws:policy/PowerUserAccess"),
        ),
        Step(
            "allow the role to manage the roles of the functions",
            (*iam, "put-role-policy", *role, "--policy-name", _ROLE, "--policy-document", json.dumps(_ROLE_POLICY)),
        ),
    ]


def steps(*, region: str, bucket: str, github: str | None = None) -> list[Step]:
    """The steps that must run before ``terraform init``."""
    s3 = ("aws", "s3api")
    named = ("--bucket", bucket, "--region", region)
    # S3 refuses a location constraint of us-east-1.
    location = () if region == "us-east-1" else ("--create-bucket-configuration", f"LocationConstraint={region}")
    return [
        Step(
            f"create the bucket {bucket} for the state",
            (*s3, "create-bucket", *named, *location),
            unless=(*s3, "head-bucket", *named),
        ),
        Step(
            "block public access to the bucket",
            (*s3, "put-public-access-block", *named, "--public-access-block-configuration", _PRIVATE),
        ),
        Step(
            "enable versioning",
            (*s3, "put-bucket-versioning", *named, "--versioning-configuration", "Status=Enabled"),
        ),
        Step(
            "delete old versions after 90 days",
            (*s3, "put-bucket-lifecycle-configuration", *named, "--lifecycle-configuration", _OLD_STATES),
        ),
        *_identity(github),
        write_once(_CLOUD.backend, {"bucket": bucket, "region": region}),
        write_once(_CLOUD.settings, {"region": region}),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, show the steps and run them."""
    parser = argparse.ArgumentParser(prog="bootstrap_aws", description=__doc__)
    parser.add_argument("--region", required=True, help="region of the deployment, such as eu-central-1")
    parser.add_argument("--bucket", required=True, help="name of the state's bucket, unique in all of S3")
    parser.add_argument(
        "--github", type=repository, metavar="OWNER/NAME", help="repository whose main branch may assume the role"
    )
    parser.add_argument("--dry-run", action="store_true", help="show the steps and change nothing")
    parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    options = parser.parse_args(arguments)
    return carry_out(
        steps(region=options.region, bucket=options.bucket, github=options.github),
        missing=no_access(_CLOUD, tool_only=True),
        dry_run=options.dry_run,
        yes=options.yes,
        program=parser.prog,
    )


if __name__ == "__main__":
    sys.exit(main())
