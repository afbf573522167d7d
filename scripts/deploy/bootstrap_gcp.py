"""``python -m scripts.deploy.bootstrap_gcp``: enables services and creates the state's bucket and the deployer.

Run it once per project; a second run changes nothing. The state contains passwords, so the bucket is private and
versioned.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from scripts.deploy.clouds import CLOUDS, add_environment, no_access
from scripts.deploy.github_oidc import BRANCH, ISSUER, repository, subject, trusted
from scripts.deploy.plan import CommandOutput, Step, carry_out
from scripts.deploy.tfvars import write_once

_CLOUD = CLOUDS["gcp"]
_PUBSUB = "pubsub.googleapis.com"
_SERVICES = (
    "cloudresourcemanager.googleapis.com",
    "iam.googleapis.com",
    "iamcredentials.googleapis.com",
    "serviceusage.googleapis.com",
    "sts.googleapis.com",
    _PUBSUB,
)
"""The services with which Terraform enables the others, and with which a workflow impersonates the deployer."""
_ACCOUNT = "deploy-helios"
_POOL = "github"
_ROLES = (
    "roles/editor",
    "roles/iam.serviceAccountAdmin",
    "roles/pubsub.admin",
    "roles/resourcemanager.projectIamAdmin",
    "roles/run.admin",
    "roles/secretmanager.admin",
)


def _identity(project: str, bucket: str, github: str | None, environment: str | None) -> list[Step]:
    """The steps that create the deployer's service account."""
    within = ("--project", project)
    email = f"{_ACCOUNT}@{project}.iam.gserviceaccount.com"
    member = ("--member", f"serviceAccount:{email}")
    accounts = ("gcloud", "iam", "service-accounts")
    grants = [
        Step(
            f"grant it {role}",
            ("gcloud", "projects", "add-iam-policy-binding", project, *member, "--role", role, "--condition", "None"),
        )
        for role in _ROLES
    ]
    return [
        Step(
            f"create the service account {_ACCOUNT} for deployments",
            (*accounts, "create", _ACCOUNT, "--display-name", "Deploys Helios", *within),
            unless=(*accounts, "describe", email, *within),
        ),
        *grants,
        Step(
            "allow it to read and write the state",
            (
                *("gcloud", "storage", "buckets", "add-iam-policy-binding", f"gs://{bucket}"),
                *(*member, "--role", "roles/storage.objectAdmin"),
            ),
        ),
        *(_trust(project, email, github, environment) if github else []),
    ]


def _trust(project: str, email: str, github: str, environment: str | None) -> list[Step]:
    """The steps that allow the jobs of a repository to impersonate the account."""
    within = ("--project", project)
    pools = ("gcloud", "iam", "workload-identity-pools")
    where = ("--location", "global", *within)
    provider = (_POOL, "--workload-identity-pool", _POOL, *where)
    number = ("gcloud", "projects", "describe", project, "--format", "value(projectNumber)")
    principal = f"/locations/global/workloadIdentityPools/{_POOL}/subject/{subject(github, environment)}"
    return [
        Step(
            "create a pool for external identities",
            (*pools, "create", _POOL, *where),
            unless=(*pools, "describe", _POOL, *where),
        ),
        Step(
            f"add GitHub as an identity provider, for {trusted(github, environment)}",
            (
                *(*pools, "providers", "create-oidc", *provider, "--issuer-uri", ISSUER),
                *("--attribute-mapping", "google.subject=assertion.sub"),
                *("--attribute-condition", _condition(github, environment)),
            ),
            unless=(*pools, "providers", "describe", *provider),
        ),
        Step(
            f"allow {trusted(github, environment)} to impersonate the account",
            (
                *("gcloud", "iam", "service-accounts", "add-iam-policy-binding", email, *within),
                *("--role", "roles/iam.workloadIdentityUser", "--member"),
                CommandOutput("principal://iam.googleapis.com/projects/", number, principal),
            ),
        ),
    ]


def _condition(github: str, environment: str | None) -> str:
    """Which tokens the pool accepts. The environments share it, and the account's grants name each of them."""
    of_repository = f"assertion.repository == '{github}'"
    return of_repository if environment else f"{of_repository} && assertion.ref == '{BRANCH}'"


def steps(
    *, project: str, region: str, bucket: str, github: str | None = None, environment: str | None = None
) -> list[Step]:
    """The steps that must run before ``terraform init``."""
    cloud = _CLOUD._replace(environment=environment)
    within = ("--project", project)
    url = f"gs://{bucket}"
    storage = ("gcloud", "storage", "buckets")
    private = ("--uniform-bucket-level-access", "--public-access-prevention")
    return [
        Step("enable the services that Terraform needs first", ("gcloud", "services", "enable", *_SERVICES, *within)),
        Step(
            "create Pub/Sub's service agent, which a new project lacks, so that Terraform can grant it roles",
            ("gcloud", "beta", "services", "identity", "create", "--service", _PUBSUB, "--quiet", *within),
        ),
        Step(
            f"create the bucket {bucket} for the state",
            (*storage, "create", url, *within, "--location", region, *private),
            unless=(*storage, "describe", url, *within),
        ),
        Step("enable versioning", (*storage, "update", url, "--versioning", *within)),
        *_identity(project, bucket, github, environment),
        write_once(cloud.backend, {"bucket": bucket, "prefix": cloud.state}),
        write_once(cloud.settings, {"project": project, "region": region, "name": cloud.deployment}),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, show the steps and run them."""
    parser = argparse.ArgumentParser(prog="bootstrap_gcp", description=__doc__)
    parser.add_argument("--region", required=True, help="region of the deployment, such as europe-west3")
    parser.add_argument("--bucket", required=True, help="name of the state's bucket, unique in all of Cloud Storage")
    parser.add_argument("--github", type=repository, metavar="OWNER/NAME", help="repository that may deploy")
    add_environment(parser)
    parser.add_argument("--dry-run", action="store_true", help="show the steps and change nothing")
    parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    options = parser.parse_args(arguments)
    project = os.environ.get("GOOGLE_CLOUD_PROJECT") or "GOOGLE_CLOUD_PROJECT"
    return carry_out(
        steps(
            project=project,
            region=options.region,
            bucket=options.bucket,
            github=options.github,
            environment=options.env,
        ),
        missing=no_access(_CLOUD, tool_only=True),
        dry_run=options.dry_run,
        yes=options.yes,
        program=parser.prog,
    )


if __name__ == "__main__":
    sys.exit(main())
