"""``python -m scripts.deploy.bootstrap_azure``: once per subscription, providers, the state's storage, the deployer.

The state holds passwords, so the container is private, opens to identities and not to keys, and keeps old versions.
Running it twice changes nothing.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from scripts.deploy.clouds import CLOUDS, no_access
from scripts.deploy.github_oidc import AUDIENCE_OF_AZURE, ISSUER, repository, subject
from scripts.deploy.plan import Asked, Step, carry_out
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


def _may(who: str, role: str, scope: str, *within: str, to: tuple[str | Asked, ...]) -> Step:
    """The step that gives somebody a role."""
    command = ("az", "role", "assignment", "create", *to, "--scope", scope, "--role", role)
    return Step(f"make {who} {role}", (*command, "--output", "none", *within))


def _identity(subscription: str, location: str, state: str, github: str | None) -> tuple[Asked, list[Step]]:
    """The object id of the identity that deploys, and what makes it."""
    within = ("--subscription", subscription)
    named = ("--name", _IDENTITY, "--resource-group", _GROUP, *within)
    identity = Asked("", ("az", "identity", "show", *named, "--query", "principalId", "--output", "tsv"))
    to = ("--assignee-object-id", identity, "--assignee-principal-type", "ServicePrincipal")
    trusted = Step(
        f"let the main branch of {github} be it",
        (
            *("az", "identity", "federated-credential", "create", "--name", "github"),
            *("--identity-name", _IDENTITY, "--resource-group", _GROUP, "--issuer", ISSUER),
            *("--subject", subject(github or ""), "--audiences", AUDIENCE_OF_AZURE, "--output", "none", *within),
        ),
    )
    return identity, [
        Step(
            f"make the identity {_IDENTITY}, which deploys",
            ("az", "identity", "create", *named, "--location", location, "--output", "none"),
        ),
        *(_may(_IDENTITY, role, f"/subscriptions/{subscription}", *within, to=to) for role in _ROLES),
        _may(_IDENTITY, _STATES, state, *within, to=to),
        *([trusted] if github else []),
    ]


def steps(
    *, subscription: str, location: str, account: str, suffix: str, principal: str, github: str | None = None
) -> list[Step]:
    """What has to be there before ``terraform init``."""
    within = ("--subscription", subscription)
    named = ("--name", account, "--resource-group", _GROUP)
    storage = ("az", "storage", "account")
    container = ("--name", _CONTAINER, "--storage-account", account, "--resource-group", _GROUP)
    scope = (
        f"/subscriptions/{subscription}/resourceGroups/{_GROUP}/providers/Microsoft.Storage/storageAccounts/{account}"
    )
    closed = (
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
    }
    identity, making = _identity(subscription, location, scope, github)
    return [
        *(
            Step(f"register {provider}", ("az", "provider", "register", "--namespace", provider, "--wait", *within))
            for provider in _PROVIDERS
        ),
        Step(
            f"make the resource group {_GROUP}",
            ("az", "group", "create", "--name", _GROUP, "--location", location, "--output", "none", *within),
        ),
        Step(
            f"make the storage account {account} for the state",
            (
                *storage,
                "create",
                *named,
                "--location",
                location,
                "--sku",
                "Standard_ZRS",
                *closed,
                "--output",
                "none",
                *within,
            ),
            unless=(*storage, "show", *named, *within),
        ),
        Step(
            "keep old versions of what is in it",
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
            "make its container",
            ("az", "storage", "container-rm", "create", *container, "--output", "none", *within),
            unless=("az", "storage", "container-rm", "show", *container, *within),
        ),
        _may(principal, _STATES, scope, *within, to=("--assignee", principal)),
        *making,
        write_once(_CLOUD.backend, backend),
        write_once(
            _CLOUD.settings,
            {
                "subscription_id": subscription,
                "location": location,
                "suffix": suffix,
                "deployers": {"me": principal, _IDENTITY: identity},
            },
        ),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, show the steps, and do them."""
    parser = argparse.ArgumentParser(prog="bootstrap_azure", description=__doc__)
    parser.add_argument("--location", required=True, help="where Helios will run, such as westeurope")
    parser.add_argument(
        "--account", required=True, help="name for the state's storage account: 3 to 24 letters and digits"
    )
    parser.add_argument(
        "--principal", required=True, help="object id of who will deploy; `az ad signed-in-user show --query id`"
    )
    parser.add_argument(
        "--suffix", required=True, help="what makes names unique that all of Azure shares: a few letters and digits"
    )
    parser.add_argument("--github", type=repository, metavar="OWNER/NAME", help="whose main branch may deploy")
    parser.add_argument("--dry-run", action="store_true", help="only show what would be done")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    given = parser.parse_args(arguments)
    subscription = os.environ.get("ARM_SUBSCRIPTION_ID") or "ARM_SUBSCRIPTION_ID"
    return carry_out(
        steps(
            subscription=subscription,
            location=given.location,
            account=given.account,
            suffix=given.suffix,
            principal=given.principal,
            github=given.github,
        ),
        missing=no_access(_CLOUD, tool_only=True),
        dry_run=given.dry_run,
        yes=given.yes,
        program=parser.prog,
    )


if __name__ == "__main__":
    sys.exit(main())
