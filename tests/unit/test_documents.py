"""The documents agree with the code, and with each other."""

import re
import subprocess
from pathlib import Path

from local.aws import MAX_RECEIVES

ROOT = Path(__file__).parents[2]


def test_the_architecture_says_how_often_sqs_delivers():
    """The redrive policy takes the root's variable, whose default is the number; the local stack has the same."""
    module = (ROOT / "infra/terraform/modules/aws/events/main.tf").read_text(encoding="utf-8")
    variables = (ROOT / "infra/terraform/aws/variables.tf").read_text(encoding="utf-8")
    document = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    (policy,) = re.findall(r"maxReceiveCount\s*=\s*(\S+)", module)
    (block,) = re.findall(r'^variable "max_receives" \{\n(.*?)^\}', variables, re.DOTALL | re.MULTILINE)
    (default,) = re.findall(r"^  default\s*=\s*(\d+)$", block, re.MULTILINE)
    (documented,) = re.findall(r"after (\d+) receives", document)

    assert policy == "var.max_receives"
    assert (int(documented), MAX_RECEIVES) == (int(default), int(default))
