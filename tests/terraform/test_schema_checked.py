"""The roots of Google Cloud and Azure against their providers' schemas, unchanged and with planted mistakes."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from helios.settings import Settings
from scripts.build.terraform_schema import serve

TERRAFORM = Path(__file__).parents[2] / "infra/terraform"
CLOUDS = ["gcp", "azure"]
FILES = {"versions.tf", "main.tf", "variables.tf", "outputs.tf", "README.md"}
FOLDERS = [
    folder for cloud in CLOUDS for folder in (TERRAFORM / cloud, *sorted((TERRAFORM / "modules" / cloud).glob("*/")))
]
SECONDS = 600


class Mistake(NamedTuple):
    """A change that makes the code invalid.

    Attributes:
        file: the path below ``infra/terraform``.
        old: a text in the file.
        new: the invalid text that replaces it.
        message: the error of Terraform.
    """

    file: str
    old: str
    new: str
    message: str


MISTAKES = {
    "gcp-unknown-argument": Mistake(
        "modules/gcp/ingest-topic/main.tf",
        "ack_deadline_seconds ",
        "ack_deadline ",
        'named "ack_deadline" is not expected',
    ),
    "gcp-missing-argument": Mistake(
        "gcp/main.tf", "  location                    = var.region\n", "", 'The argument "location" is required'
    ),
    "gcp-wrong-type": Mistake(
        "modules/gcp/ingest-topic/main.tf",
        "= 60 #",
        '= "soon" #',
        'Inappropriate value for attribute "ack_deadline_seconds"',
    ),
    "gcp-bad-reference": Mistake(
        "modules/gcp/network/outputs.tf",
        "google_compute_address.egress.address",
        "google_compute_address.egress.ip",
        "Unsupported attribute",
    ),
    "gcp-unknown-block": Mistake(
        "modules/gcp/ingest-topic/main.tf",
        "  retry_policy {",
        "  backoff {",
        'Blocks of type "backoff" are not expected',
    ),
    "gcp-unknown-resource": Mistake(
        "gcp/main.tf", '"google_cloud_scheduler_job"', '"google_scheduler_job"', "Invalid resource type"
    ),
    "gcp-computed-argument": Mistake(
        "modules/gcp/network/main.tf",
        '  name   = "${var.name}-egress"',
        '  name   = "egress"\n  self_link = "mine"',
        "Can't set self_link",
    ),
    "azure-unknown-argument": Mistake(
        "modules/azure/event-grid/main.tf",
        "event_time_to_live ",
        "time_to_live ",
        'named "time_to_live" is not expected',
    ),
    "azure-missing-argument": Mistake(
        "modules/azure/vault/main.tf",
        '  sku_name                   = "standard"\n',
        "",
        'The argument "sku_name" is required',
    ),
    "azure-wrong-type": Mistake(
        "modules/azure/function-app/main.tf",
        "= var.log_retention_days\n",
        '= ["many"]\n',
        'Inappropriate value for attribute "retention_in_days"',
    ),
    "azure-bad-reference": Mistake(
        "modules/azure/cache/outputs.tf", "[0].primary_access_key", "[0].access_key", "Unsupported attribute"
    ),
    "azure-unknown-block": Mistake(
        "modules/azure/event-grid/main.tf",
        "  dead_letter_identity {",
        "  identity {",
        'Blocks of type "identity" are not expected',
    ),
    "azure-unknown-resource": Mistake(
        "azure/main.tf", '"azurerm_resource_group" "this"', '"azurerm_group" "this"', "Invalid resource type"
    ),
    "azure-computed-argument": Mistake(
        "modules/azure/network/main.tf",
        '  name                = "${var.name}-egress"',
        '  name       = "egress"\n  ip_address = "198.51.100.1"',
        "Can't set ip_address",
    ),
}


AZ = """#!/bin/sh
calls="$(dirname "$0")/calls"
echo "$@" >> "$calls"
case "$*" in
  "account show"*) [ ! -e "$(dirname "$0")/signed-out" ] ;;
  "keyvault secret list"*) [ "$(grep -c "^keyvault secret list" "$calls")" -gt 2 ] ;;
  *"/configreferences/"*"--query"*)
    if [ -e "$(dirname "$0")/unresolved" ]; then echo 0
    elif [ "$(grep -c "configreferences.*--query" "$calls")" -gt 2 ]; then echo 2
    else echo 1; fi ;;
  *"/functions/ingest?"*) [ "$(grep -c "/functions/ingest?" "$calls")" -gt 2 ] ;;
esac
"""


class Answer(NamedTuple):
    """The exit code of terraform, and its output as one line."""

    code: int
    text: str


Terraform = Callable[..., Answer]


@pytest.fixture(scope="module")
def configuration(tmp_path_factory) -> Path:
    """Terraform's configuration with the schema-only providers."""
    if shutil.which("terraform") is None:
        pytest.skip("terraform is not installed")
    return serve.configuration(tmp_path_factory.mktemp("schemas"))


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """A copy of all Terraform code, which a test may change."""
    copy = tmp_path / "terraform"
    shutil.copytree(TERRAFORM, copy, ignore=shutil.ignore_patterns(".terraform*", "aws", "schemas"))
    return copy


@pytest.fixture
def az(tmp_path: Path) -> Path:
    """A folder with a stand-in for Azure's command line, which records its calls in the file ``calls``.

    New roles take effect late, as in Azure: the vault refuses the first two calls, and the first two queries of the
    app's references return one of two. A published function is listed late too: the first two queries for it fail. A
    file ``signed-out`` beside it ends the session, and a file ``unresolved`` leaves all references unresolved. A
    stand-in for ``sleep`` returns at once.
    """
    folder = tmp_path / "az"
    folder.mkdir()
    for name, script in {"az": AZ, "sleep": "#!/bin/sh\n"}.items():
        command = folder / name
        command.write_text(script)
        command.chmod(0o755)
    return folder


@pytest.fixture
def terraform(code: Path, configuration: Path, az: Path) -> Terraform:
    """Runs terraform in a root of the copy."""

    def run(root: str, *arguments: str) -> Answer:
        environment = {
            **os.environ,
            "PATH": f"{az}:{os.environ['PATH']}",
            "TF_CLI_CONFIG_FILE": str(configuration),
            "CHECKPOINT_DISABLE": "1",
        }
        command = [shutil.which("terraform") or "terraform", *arguments]
        done = subprocess.run(
            command, cwd=code / root, env=environment, check=False, capture_output=True, text=True, timeout=SECONDS
        )
        return Answer(done.returncode, re.sub(r"[\s│]+", " ", done.stdout + done.stderr))

    return run


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_root_matches_the_schema_of_its_provider(terraform, cloud):
    assert terraform(cloud, "get", "-no-color").code == 0
    answer = terraform(cloud, "validate", "-no-color")
    assert answer.code == 0, answer.text


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_root_passes_its_own_tests(terraform, cloud):
    """The tests plan and apply with mocks of the resources in the schema."""
    assert terraform(cloud, "get", "-no-color").code == 0
    answer = terraform(cloud, "test", "-no-color")
    assert answer.code == 0, answer.text
    assert re.search(r"Success! [1-9]\d* passed, 0 failed", answer.text), answer.text


AZURE_GROUP = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/helios"
AZURE_APP = f"{AZURE_GROUP}/providers/Microsoft.Web/sites/heliosx42"


def azure_calls(az: Path) -> list[str]:
    """The calls of Azure's command line, without the options that have no effect here."""
    lines = (az / "calls").read_text().splitlines()
    return [re.sub(r"( --(output|query|src) .*|\?api-version=\S+)", "", line) for line in lines]


WRITES = 4
"""How often the tests of Azure's root write the app: alone, with spans, beside AWS, and with flows of its own."""


def azure_root(terraform: Terraform) -> Answer:
    """Runs the tests of Azure's root that apply it: alone, and beside AWS."""
    assert terraform("azure", "get", "-no-color").code == 0
    return terraform("azure", "test", "-no-color", "-filter=tests/root.tftest.hcl")


def test_azure_s_secrets_are_readable_before_the_code_is_published(terraform, az):
    """One apply is enough, however long a role takes to become effective."""
    answer = azure_root(terraform)
    assert answer.code == 0, answer.text
    references = f"--url {AZURE_APP}/config/configreferences/appsettings"
    session = "account show"
    vault = "keyvault secret list --vault-name heliosx42 --maxresults 1"
    assert azure_calls(az)[:16] == [
        session,
        *3 * [vault],
        session,
        f"functionapp config appsettings delete --ids {AZURE_APP}",
        *3 * [f"rest --method post {references}/refresh", f"rest --method get {references}"],
        f"functionapp deployment source config-zip --ids {AZURE_APP}",
        *3 * [f"rest --method get --url {AZURE_APP}/functions/ingest"],
    ]


def test_every_write_of_azure_s_app_is_followed_by_the_deletion_of_its_connection_strings(terraform, az):
    """Each run after the first writes other settings and the same package."""
    answer = azure_root(terraform)
    assert answer.code == 0, answer.text
    calls = (az / "calls").read_text().splitlines()
    deletions = [call for call in calls if call.startswith("functionapp config appsettings delete")]
    assert len(deletions) == WRITES
    assert all(
        call.endswith("--setting-names AzureWebJobsStorage DEPLOYMENT_STORAGE_CONNECTION_STRING") for call in deletions
    )


def test_unresolved_references_are_a_warning(terraform, az):
    """On Linux, Azure may report another status for a reference that the app can read."""
    (az / "unresolved").touch()
    answer = azure_root(terraform)
    assert answer.code == 0, answer.text
    assert "config-zip" in (az / "calls").read_text()
    assert (az / "calls").read_text().count("refresh") == 40 * WRITES


def test_without_a_session_azure_s_apply_fails_at_once_in_one_sentence(terraform, az):
    (az / "signed-out").touch()
    answer = azure_root(terraform)
    assert answer.code == 1
    assert "az is not signed in. Run 'az login' as the identity that applies the root, and apply again." in answer.text
    assert set(azure_calls(az)) == {"account show"}


@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_code_is_formatted(terraform, cloud):
    for folder in (".", f"../modules/{cloud}"):
        assert terraform(cloud, "fmt", "-check", "-diff", "-recursive", folder).text == ""


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES.keys())
def test_a_planted_mistake_is_found(terraform, code, mistake):
    file = code / mistake.file
    original = file.read_text()
    assert original.count(mistake.old) == 1
    file.write_text(original.replace(mistake.old, mistake.new))
    cloud = next(part for part in Path(mistake.file).parts if part in CLOUDS)
    assert terraform(cloud, "get", "-no-color").code == 0
    answer = terraform(cloud, "validate", "-no-color")
    assert answer.code == 1
    assert mistake.message in answer.text


def test_a_plan_needs_the_real_provider(terraform, code):
    """The schema-only provider refuses its configuration."""
    root = code / "alone"
    root.mkdir()
    (root / "main.tf").write_text('resource "google_pubsub_topic" "this" {\n  name = "events"\n}\n')
    answer = terraform("alone", "plan", "-no-color")
    assert answer.code == 1
    assert "This provider has only a schema" in answer.text


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.relative_to(TERRAFORM)))
def test_a_module_has_the_same_five_files(folder):
    assert FILES - {file.name for file in folder.iterdir()} == set()


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.relative_to(TERRAFORM)))
def test_every_variable_and_output_has_a_description(folder):
    text = (folder / "variables.tf").read_text() + (folder / "outputs.tf").read_text()
    blocks = re.findall(r'^(variable|output) "(\w+)" \{\n(.*?)^\}', text, flags=re.MULTILINE | re.DOTALL)
    assert blocks
    for kind, name, body in blocks:
        assert re.search(r"^  description *= ", body, flags=re.MULTILINE), name
        assert kind == "output" or re.search(r"^  type *= ", body, flags=re.MULTILINE), name


@pytest.mark.parametrize("cloud", CLOUDS)
def test_every_secret_of_the_functions_is_a_setting_of_helios(cloud):
    text = (TERRAFORM / cloud / "main.tf").read_text()
    (block,) = re.findall(r"^  secrets += \{\n(.*?)^  \}", text, flags=re.MULTILINE | re.DOTALL)
    names = re.findall(r"^    (\w+) +=", block, flags=re.MULTILINE)

    assert names
    assert {name.lower() for name in names} - set(Settings.__struct_fields__) == set()
