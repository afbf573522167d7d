"""``python -m scripts.deploy.bootstrap_gcp``: once per project, its services, the state's bucket, the deployer.

The state holds passwords, so the bucket is private and versioned. Running it twice changes nothing.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from scripts.deploy.clouds import CLOUDS, no_access
from scripts.deploy.github_oidc import BRANCH, ISSUER, repository, subject
from scripts.deploy.plan import Asked, Step, carry_out
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
"""What Terraform needs to enable the others itself, and what a workflow needs to become the account that deploys."""
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


def _identity(project: str, bucket: str, github: str | None) -> list[Step]:
    """The account that deploys."""
    within = ("--project", project)
    email = f"{_ACCOUNT}@{project}.iam.gserviceaccount.com"
    member = ("--member", f"serviceAccount:{email}")
    accounts = ("gcloud", "iam", "service-accounts")
    may = [
        Step(
            f"give it {role}",
            ("gcloud", "projects", "add-iam-policy-binding", project, *member, "--role", role, "--condition", "None"),
        )
        for role in _ROLES
    ]
    return [
        Step(
            f"make the account {_ACCOUNT}, which deploys",
            (*accounts, "create", _ACCOUNT, "--display-name", "Deploys Helios", *within),
            unless=(*accounts, "describe", email, *within),
        ),
        *may,
        Step(
            "let it read and write states",
            (
                *("gcloud", "storage", "buckets", "add-iam-policy-binding", f"gs://{bucket}"),
                *(*member, "--role", "roles/storage.objectAdmin"),
            ),
        ),
        *(_trust(project, email, github) if github else []),
    ]


def _trust(project: str, email: str, github: str) -> list[Step]:
    """The main branch of a repository may become the account."""
    within = ("--project", project)
    pools = ("gcloud", "iam", "workload-identity-pools")
    where = ("--location", "global", *within)
    provider = (_POOL, "--workload-identity-pool", _POOL, *where)
    number = ("gcloud", "projects", "describe", project, "--format", "value(projectNumber)")
    place = f"/locations/global/workloadIdentityPools/{_POOL}/subject/{subject(github)}"
    return [
        Step(
            "make a pool of identities from elsewhere",
            (*pools, "create", _POOL, *where),
            unless=(*pools, "describe", _POOL, *where),
        ),
        Step(
            f"believe what GitHub says of the main branch of {github}",
            (
                *(*pools, "providers", "create-oidc", *provider, "--issuer-uri", ISSUER),
                *("--attribute-mapping", "google.subject=assertion.sub"),
                *("--attribute-condition", f"assertion.repository == '{github}' && assertion.ref == '{BRANCH}'"),
            ),
            unless=(*pools, "providers", "describe", *provider),
        ),
        Step(
            "let it become the account",
            (
                *("gcloud", "iam", "service-accounts", "add-iam-policy-binding", email, *within),
                *("--role", "roles/iam.workloadIdentityUser", "--member"),
                Asked("principal://iam.googleapis.com/projects/", number, place),
            ),
        ),
    ]


def steps(*, project: str, region: str, bucket: str, github: str | None = None) -> list[Step]:
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
        *_identity(project, bucket, github),
        write_once(_CLOUD.backend, {"bucket": bucket}),
        write_once(_CLOUD.settings, {"project": project, "region": region}),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, show the steps, and do them."""
    parser = argparse.ArgumentParser(prog="bootstrap_gcp", description=__doc__)
    parser.add_argument("--region", required=True, help="where Helios will run, such as europe-west3")
    parser.add_argument(
        "--bucket", required=True, help="name for the state's bucket; all of Cloud Storage shares one namespace"
    )
    parser.add_argument("--github", type=repository, metavar="OWNER/NAME", help="whose main branch may deploy")
    parser.add_argument("--dry-run", action="store_true", help="only show what would be done")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    given = parser.parse_args(arguments)
    project = os.environ.get("GOOGLE_CLOUD_PROJECT") or "GOOGLE_CLOUD_PROJECT"
    return carry_out(
        steps(project=project, region=given.region, bucket=given.bucket, github=given.github),
        missing=no_access(_CLOUD, tool_only=True),
        dry_run=given.dry_run,
        yes=given.yes,
        program=parser.prog,
    )


if __name__ == "__main__":
    sys.exit(main())
