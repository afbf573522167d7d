"""The code of all clouds states nothing that its provider never reads back."""

from pathlib import Path

import pytest

from tests.support.drift import find

TERRAFORM = Path(__file__).parents[2] / "infra/terraform"
FILES = sorted(TERRAFORM.rglob("*.tf"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(TERRAFORM)))
def test_a_second_plan_is_empty(file):
    assert list(find(file.read_text())) == []


@pytest.mark.parametrize(
    ("file", "old", "new", "reason"),
    [
        (
            "modules/azure/function-app/main.tf",
            "    AzureWebJobsStorage__accountName =",
            '    AzureWebJobsStorage = ""\n    AzureWebJobsStorage__accountName =',
            "AzureWebJobsStorage is an empty string in a map: leave the entry out",
        ),
        (
            "gcp/main.tf",
            "  http_target {\n",
            "  retry_config {\n    retry_count = 0\n  }\n\n  http_target {\n",
            "the block retry_config states only default values: leave it out",
        ),
        (
            "modules/gcp/function/main.tf",
            "    ignore_changes = [service_config[0].all_traffic_on_latest_revision]",
            "    ignore_changes = [description]",
            "a release moves all_traffic_on_latest_revision: add it to ignore_changes",
        ),
        (
            "modules/aws/function/main.tf",
            "    ignore_changes = [function_version, routing_config]",
            "    ignore_changes = [routing_config]",
            "a release moves function_version: add it to ignore_changes",
        ),
    ],
)
def test_a_planted_cause_of_endless_plans_is_found(file, old, new, reason):
    """Two causes were found by applying the roots with the real providers, one by reading what Google answers."""
    code = (TERRAFORM / file).read_text()
    assert code.count(old) == 1
    assert [found.reason for found in find(code.replace(old, new))] == [reason]
