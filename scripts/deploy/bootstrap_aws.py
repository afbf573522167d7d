"""``python -m scripts.deploy.bootstrap_aws``: creates the state's bucket, the deployer's role and settings files.

Run it once per account; a second run changes nothing. The state contains passwords, so the bucket is private,
encrypted and versioned.
"""

import argparse
import json
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from scripts.deploy.clouds import CLOUDS, add_environment, no_access
from scripts.deploy.github_oidc import AUDIENCE_OF_AWS, ISSUER, repository, subject, trusted
from scripts.deploy.plan import CommandOutput, Step, carry_out
from scripts.deploy.tfvars import Values, write_once

_CLOUD = CLOUDS["aws"]
_MAX_NAME = 20
_PRIVATE = "BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=true,RestrictPublicBuckets=true"
_OLD_STATES = (
    '{"Rules":[{"ID":"old-states","Status":"Enabled","Filter":{},'
    '"NoncurrentVersionExpiration":{"NoncurrentDays":90},"AbortIncompleteMultipartUpload":{"DaysAfterInitiation":1}}]}'
)


_NETWORK = (
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
)
"""What Lambda does on behalf of a function in a VPC, see infra/terraform/modules/aws/function."""

_REPLAYS = "arn:aws:events:*:*:replay/helios-recovery-*"
"""The replays of all deployments: their names say nothing of the deployment."""


def deployer(name: str) -> str:
    """The deploying role. It may change roles that begin with the name, and must not change itself."""
    return f"deploy-{name}"


def boundary(name: str) -> str:
    """The policy that limits what any role of this deployment may do."""
    return f"boundary-{name}"


def role_policy(name: str) -> Mapping[str, Any]:
    """The permissions that ``PowerUserAccess`` lacks, such as passing a role to a function.

    The deployer can't make itself, or a role of its own, an administrator: a role that it creates or changes has the
    boundary, and no role loses it. (IAM User Guide, "Delegating responsibility to others using permissions boundaries")
    """
    roles = f"arn:aws:iam::*:role/{name}-*"
    changes = ["CreateRole", "PutRolePermissionsBoundary", "PutRolePolicy", "AttachRolePolicy"]
    return _policy(
        {"Sid": "RolesOfHelios", "Effect": "Allow", "Action": "iam:*Role*", "Resource": roles},
        {
            "Sid": "OnlyWithinTheBoundary",
            "Effect": "Deny",
            "Action": [f"iam:{change}" for change in changes],
            "Resource": roles,
            "Condition": {
                "StringNotLike": {"iam:PermissionsBoundary": f"arn:aws:iam::*:policy/{boundary(name)}"},
            },
        },
        {
            "Sid": "TheBoundaryStays",
            "Effect": "Deny",
            "Action": "iam:DeleteRolePermissionsBoundary",
            "Resource": "*",
        },
    )


def boundary_policy(name: str) -> Mapping[str, Any]:
    """The most that a role of this deployment may do: what some function needs, on resources of this name."""

    def allow(sid: str, actions: Sequence[str], resource: str) -> Mapping[str, Any]:
        return {"Sid": sid, "Effect": "Allow", "Action": list(actions), "Resource": resource}

    return _policy(
        allow(
            "Logs", ["logs:CreateLogStream", "logs:PutLogEvents"], f"arn:aws:logs:*:*:log-group:/aws/lambda/{name}-*"
        ),
        allow(
            "Queues",
            [
                "sqs:SendMessage",
                "sqs:ReceiveMessage",
                "sqs:ChangeMessageVisibility",
                "sqs:DeleteMessage",
                "sqs:GetQueueAttributes",
            ],
            f"arn:aws:sqs:*:*:{name}-*",
        ),
        allow("Secrets", ["secretsmanager:GetSecretValue"], f"arn:aws:secretsmanager:*:*:secret:{name}/*"),
        allow("Bus", ["events:PutEvents"], f"arn:aws:events:*:*:event-bus/{name}"),
        allow("Archive", ["events:DescribeArchive", "events:StartReplay"], f"arn:aws:events:*:*:archive/{name}*"),
        allow(
            "ArchivedEvents",
            ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"],
            f"arn:aws:s3:::{name}-archive-*/events/*",
        ),
        allow("ArchivedFiles", ["s3:ListBucket"], f"arn:aws:s3:::{name}-archive-*"),
        allow("ArchiveTask", ["ecs:RunTask"], "arn:aws:ecs:*:*:task-definition/*"),
        allow("ArchiveTaskRoles", ["iam:PassRole"], f"arn:aws:iam::*:role/{name}-*"),
        allow(
            "RecoveryRules",
            [
                "events:PutRule",
                "events:PutTargets",
                "events:ListTargetsByRule",
                "events:RemoveTargets",
                "events:DeleteRule",
            ],
            f"arn:aws:events:*:*:rule/{name}/helios-recovery-*",
        ),
        allow("RuleNames", ["events:ListRules"], "arn:aws:events:*:*:rule/*"),
        allow("Replays", ["events:StartReplay", "events:DescribeReplay", "events:CancelReplay"], _REPLAYS),
        allow("Clients", ["execute-api:ManageConnections"], "arn:aws:execute-api:*:*:*"),
        allow("Network", _NETWORK, "*"),
    )


def _policy(*statements: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


_ACCOUNT = ("aws", "sts", "get-caller-identity", "--query", "Account", "--output", "text")


def _trust(github: str | None, environment: str | None) -> CommandOutput:
    """The role's trust policy: for principals of this account, or for jobs of a repository."""
    if github is None:
        grant = {"Principal": {"AWS": "arn:aws:iam::ACCOUNT:root"}, "Action": "sts:AssumeRole"}
    else:
        issuer = ISSUER.removeprefix("https://")
        grant = {
            "Principal": {"Federated": f"arn:aws:iam::ACCOUNT:oidc-provider/{issuer}"},
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": {
                "StringEquals": {f"{issuer}:aud": AUDIENCE_OF_AWS, f"{issuer}:sub": subject(github, environment)}
            },
        }
    before, _, after = json.dumps(_policy({"Effect": "Allow", **grant})).partition("ACCOUNT")
    return CommandOutput(before, _ACCOUNT, after)


def _boundary_arn(name: str) -> CommandOutput:
    return CommandOutput("arn:aws:iam::", _ACCOUNT, f":policy/{boundary(name)}")


def _identity(name: str, github: str | None, environment: str | None) -> list[Step]:
    """The steps that create the deployer's role, and the boundary of the roles that it creates."""
    iam = ("aws", "iam")
    role = ("--role-name", deployer(name))
    provider = CommandOutput("arn:aws:iam::", _ACCOUNT, f":oidc-provider/{ISSUER.removeprefix('https://')}")
    provided = [
        Step(
            "add GitHub as an identity provider",
            (*iam, "create-open-id-connect-provider", "--url", ISSUER, "--client-id-list", AUDIENCE_OF_AWS),
            unless=(*iam, "get-open-id-connect-provider", "--open-id-connect-provider-arn", provider),
        )
    ]
    return [
        *(provided if github else []),
        Step(
            f"create the policy {boundary(name)}, the most that a function's role may do",
            (
                *(*iam, "create-policy", "--policy-name", boundary(name)),
                *("--policy-document", json.dumps(boundary_policy(name))),
            ),
            unless=(*iam, "get-policy", "--policy-arn", _boundary_arn(name)),
        ),
        Step(
            f"create the role {deployer(name)} for deployments",
            (*iam, "create-role", *role, "--assume-role-policy-document", _trust(github, environment)),
            unless=(*iam, "get-role", *role),
        ),
        Step(
            f"allow {trusted(github, environment) if github else 'this account'} to assume the role",
            (*iam, "update-assume-role-policy", *role, "--policy-document", _trust(github, environment)),
        ),
        Step(
            "attach PowerUserAccess to the role",
            (*iam, "attach-role-policy", *role, "--policy-arn", "arn:aws:iam::aws:policy/PowerUserAccess"),
        ),
        Step(
            f"allow the role to manage the roles {name}-*, within the boundary",
            (
                *(*iam, "put-role-policy", *role, "--policy-name", deployer(name)),
                *("--policy-document", json.dumps(role_policy(name))),
            ),
        ),
    ]


def steps(
    *,
    region: str,
    bucket: str,
    github: str | None = None,
    environment: str | None = None,
    name: str | None = None,
) -> list[Step]:
    """The steps that must run before ``terraform init``.

    Args:
        region: the region of the deployment and of the bucket.
        bucket: the bucket of the state.
        github: the repository whose main branch, or whose environment of this name, may deploy; None: principals of
            the account.
        environment: one of ``ENVIRONMENTS``; None for the only deployment.
        name: the prefix of the deployment's names; None: the one of its environment.
    """
    cloud = _CLOUD._replace(environment=environment)
    name = name or cloud.deployment
    settings: Values = {"region": region, "name": name, "permissions_boundary": _boundary_arn(name)}
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
        *_identity(name, github, environment),
        write_once(cloud.backend, {"bucket": bucket, "region": region, "key": f"{cloud.state}.tfstate"}),
        write_once(cloud.settings, settings),
    ]


def _name(text: str) -> str:
    """A validated prefix, which becomes part of a policy; the root's variable ``name`` has the same rule."""
    if not re.fullmatch(r"[a-z](-?[a-z0-9])+", text) or len(text) > _MAX_NAME:
        raise argparse.ArgumentTypeError(
            f"{text!r} must be 2 to {_MAX_NAME} lower-case letters, digits and single hyphens, such as helios-stage"
        )
    return text


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, show the steps and run them."""
    parser = argparse.ArgumentParser(prog="bootstrap_aws", description=__doc__)
    parser.add_argument("--region", required=True, help="region of the deployment, such as eu-central-1")
    parser.add_argument("--bucket", required=True, help="name of the state's bucket, unique in all of S3")
    parser.add_argument(
        "--github",
        type=repository,
        metavar="OWNER/NAME",
        help="repository whose main branch may assume the role; with --env, its environment of that name",
    )
    add_environment(parser)
    parser.add_argument(
        "--name",
        type=_name,
        help="prefix of all names, which the deploying role is limited to; by default helios, or helios-ENV",
    )
    parser.add_argument("--dry-run", action="store_true", help="show the steps and change nothing")
    parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    options = parser.parse_args(arguments)
    return carry_out(
        steps(
            region=options.region,
            bucket=options.bucket,
            github=options.github,
            environment=options.env,
            name=options.name,
        ),
        missing=no_access(_CLOUD, tool_only=True),
        dry_run=options.dry_run,
        yes=options.yes,
        program=parser.prog,
    )


if __name__ == "__main__":
    sys.exit(main())
