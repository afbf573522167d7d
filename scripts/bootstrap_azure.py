"""``python -m scripts.bootstrap_azure``: once per subscription, its providers and the storage for Terraform's state.

The state holds passwords, so the container is private, opens to identities and not to keys, and keeps old versions.
Running it twice changes nothing.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from scripts.clouds import CLOUDS, no_access
from scripts.steps import Step, carry_out
from scripts.written import written

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


def steps(*, subscription: str, location: str, account: str, suffix: str, principal: str) -> list[Step]:
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
        Step(
            f"let {principal} read and write states",
            (
                "az",
                "role",
                "assignment",
                "create",
                "--assignee",
                principal,
                "--scope",
                scope,
                "--role",
                "Storage Blob Data Contributor",
                "--output",
                "none",
                *within,
            ),
        ),
        written(_CLOUD.backend, backend),
        written(_CLOUD.settings, {"subscription_id": subscription, "location": location, "suffix": suffix}),
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
        ),
        missing=no_access(_CLOUD),
        dry_run=given.dry_run,
        yes=given.yes,
        program=parser.prog,
    )


if __name__ == "__main__":
    sys.exit(main())
