"""``python -m scripts.deploy.bootstrap_azure``: registers providers and creates the state's storage and the deployer.

Run it once per subscription; a second run changes nothing. The state contains passwords, so the container is private
and versioned, and accepts identities but no account keys.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from scripts.deploy.clouds import CLOUDS, add_environment, no_access
from scripts.deploy.github_oidc import AUDIENCE_OF_AZURE, ISSUER, repository, subject, trusted
from scripts.deploy.plan import CommandOutput, Step, carry_out
from scripts.deploy.tfvars import write_once

_CLOUD = CLOUDS["azure"]
_GROUP = "helios-state"
_CONTAINER = "tfstate"
_PROVIDERS = (
    "Microsoft.App",
    "Microsoft.Cache",
    "Microsoft.EventGrid",
    "Microsoft.Insights",
    "Microsoft.KeyVault",
    "Microsoft.ManagedIdentity",
    "Microsoft.Network",
    "Microsoft.OperationalInsights",
    "Microsoft.Storage",
    "Microsoft.Web",
)


_IDENTITY = "deploy-helios"
_STATES = "Storage Blob Data Contributor"
_ROLES = ("Contributor", "Role Based Access Control Administrator")


def _grant(assignee: str, role: str, scope: str, *within: str, to: tuple[str | CommandOutput, ...]) -> Step:
    """The step that assigns a role."""
    command = ("az", "role", "assignment", "create", *to, "--scope", scope, "--role", role)
    return Step(f"assign {assignee} the role {role}", (*command, "--output", "none", *within))


def _identity(
    subscription: str, location: str, state: str, github: str | None, environment: str | None
) -> tuple[CommandOutput, list[Step]]:
    """The object id of the deployer's identity, and the steps that create it."""
    within = ("--subscription", subscription)
    named = ("--name", _IDENTITY, "--resource-group", _GROUP, *within)
    identity = CommandOutput("", ("az", "identity", "show", *named, "--query", "principalId", "--output", "tsv"))
    to = ("--assignee-object-id", identity, "--assignee-principal-type", "ServicePrincipal")
    credential = Step(
        f"allow {trusted(github or '', environment)} to use the identity",
        (
            *("az", "identity", "federated-credential", "create"),
            *("--name", f"github-{environment}" if environment else "github"),
            *("--identity-name", _IDENTITY, "--resource-group", _GROUP, "--issuer", ISSUER),
            *(
                "--subject",
                subject(github or "", environment),
                "--audiences",
                AUDIENCE_OF_AZURE,
                "--output",
                "none",
                *within,
            ),
        ),
    )
    return identity, [
        Step(
            f"create the identity {_IDENTITY} for deployments",
            ("az", "identity", "create", *named, "--location", location, "--output", "none"),
        ),
        *(_grant(_IDENTITY, role, f"/subscriptions/{subscription}", *within, to=to) for role in _ROLES),
        _grant(_IDENTITY, _STATES, state, *within, to=to),
        *([credential] if github else []),
    ]


def steps(
    *,
    subscription: str,
    location: str,
    account: str,
    suffix: str,
    principal: str,
    github: str | None = None,
    environment: str | None = None,
) -> list[Step]:
    """The steps that must run before ``terraform init``."""
    cloud = _CLOUD._replace(environment=environment)
    within = ("--subscription", subscription)
    named = ("--name", account, "--resource-group", _GROUP)
    storage = ("az", "storage", "account")
    container = ("--name", _CONTAINER, "--storage-account", account, "--resource-group", _GROUP)
    scope = (
        f"/subscriptions/{subscription}/resourceGroups/{_GROUP}/providers/Microsoft.Storage/storageAccounts/{account}"
    )
    access = (
        "--allow-blob-public-access",
        "false",
        "--allow-shared-key-access",
        "false",
        "--min-tls-version",
        "TLS1_2",
    )
    backend = {
        "resource_group_name": _GROUP,
        "storage_account_name": account,
        "container_name": _CONTAINER,
        "key": f"{cloud.state}.tfstate",
    }
    identity, identity_steps = _identity(subscription, location, scope, github, environment)
    return [
        *(
            Step(f"register {provider}", ("az", "provider", "register", "--namespace", provider, "--wait", *within))
            for provider in _PROVIDERS
        ),
        Step(
            f"create the resource group {_GROUP}",
            ("az", "group", "create", "--name", _GROUP, "--location", location, "--output", "none", *within),
        ),
        Step(
            f"create the storage account {account} for the state",
            (
                *storage,
                "create",
                *named,
                "--location",
                location,
                "--sku",
                "Standard_ZRS",
                *access,
                "--output",
                "none",
                *within,
            ),
            unless=(*storage, "show", *named, *within),
        ),
        Step(
            "enable versioning of its blobs",
            (
                *storage,
                "blob-service-properties",
                "update",
                "--account-name",
                account,
                "--resource-group",
                _GROUP,
                "--enable-versioning",
                "true",
                "--output",
                "none",
                *within,
            ),
        ),
        Step(
            "create its container",
            ("az", "storage", "container-rm", "create", *container, "--output", "none", *within),
            unless=("az", "storage", "container-rm", "show", *container, *within),
        ),
        _grant(principal, _STATES, scope, *within, to=("--assignee", principal)),
        *identity_steps,
        write_once(cloud.backend, backend),
        write_once(
            cloud.settings,
            {
                "name": cloud.deployment,
                "subscription_id": subscription,
                "location": location,
                "suffix": suffix,
                "deployers": {"me": principal, _IDENTITY: identity},
            },
        ),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, show the steps and run them."""
    parser = argparse.ArgumentParser(prog="bootstrap_azure", description=__doc__)
    parser.add_argument("--location", required=True, help="location of the deployment, such as westeurope")
    parser.add_argument(
        "--account", required=True, help="name of the state's storage account: 3 to 24 characters of a-z and 0-9"
    )
    parser.add_argument(
        "--principal", required=True, help="object id of the user who deploys: `az ad signed-in-user show --query id`"
    )
    parser.add_argument(
        "--suffix", required=True, help="suffix that makes global names unique: a few characters of a-z and 0-9"
    )
    parser.add_argument("--github", type=repository, metavar="OWNER/NAME", help="repository that may deploy")
    add_environment(parser)
    parser.add_argument("--dry-run", action="store_true", help="show the steps and change nothing")
    parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    options = parser.parse_args(arguments)
    subscription = os.environ.get("ARM_SUBSCRIPTION_ID") or "ARM_SUBSCRIPTION_ID"
    return carry_out(
        steps(
            subscription=subscription,
            location=options.location,
            account=options.account,
            suffix=options.suffix,
            principal=options.principal,
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
