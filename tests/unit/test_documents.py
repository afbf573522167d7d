"""The documents agree with the code, and with each other."""

import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from local.aws.deployer import MAX_RECEIVES

ROOT = Path(__file__).parents[2]

_FENCED = re.compile(r"^ *(```|~~~).*?^ *\1", re.DOTALL | re.MULTILINE)
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(
    r"\]\(\s*<?([^)\s>]+)>?[^)]*\)|^ *\[[^\]]+\]:\s*<?(\S+?)>?(?:\s|$)|(?:href|src)=\"([^\"]+)\"", re.MULTILINE
)


def documents() -> list[str]:
    """Paths of all tracked Markdown files."""
    process = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True)
    return process.stdout.splitlines()


def links(text: str) -> Iterator[str]:
    """Every target of a link or an image within this repository."""
    for groups in _LINK.findall(_CODE.sub("", _FENCED.sub("", text))):
        target = next(group for group in groups if group)
        if not re.match(r"[a-z][a-z+.-]*:|//", target):
            yield unquote(target)


def anchors(text: str) -> set[str]:
    """Targets of a #fragment: the slugs that GitHub makes of headings, and explicit ids."""
    plain = _FENCED.sub("", text)
    slugs: Counter[str] = Counter()
    for heading in re.findall(r"^#{1,6} +(.+?)[ #]*$", plain, re.MULTILINE):
        title = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        slugs[slug] += 1
        if slugs[slug] > 1:
            slugs[f"{slug}-{slugs[slug] - 1}"] += 1
    return {*slugs, *re.findall(r'(?:id|name)="([^"]+)"', plain)}


def broken_links(document: str) -> list[str]:
    """The document's links whose target does not exist."""
    targets = []
    for link in links((ROOT / document).read_text(encoding="utf-8")):
        path, _, fragment = link.partition("#")
        target = (ROOT / document).parent / path if path else ROOT / document
        if not target.exists() or (
            fragment and target.suffix == ".md" and fragment not in anchors(target.read_text(encoding="utf-8"))
        ):
            targets.append(link)
    return targets


@pytest.mark.parametrize("document", documents())
def test_every_relative_link_of_a_document_has_a_target(document):
    assert broken_links(document) == []


def test_links_and_anchors_are_parsed_as_on_github():
    text = (
        '# The `code`, twice!\n## A [link](x.md)\n## A link\n```\n# no heading [no](link.md)\n```\n<a id="own"></a>\n'
    )
    text += '![image](i.png "title") `[no](code.md)` [site](https://x.example) [here](#a-link-1)\n[ref]: r.md#top\n'

    assert anchors(text) == {"the-code-twice", "a-link", "a-link-1", "own"}
    assert list(links(text)) == ["x.md", "i.png", "#a-link-1", "r.md#top"]


def test_the_architecture_states_the_maximum_receives_of_sqs():
    """The redrive policy uses the root's variable. Its default equals the documented number and the local stack's."""
    module = (ROOT / "infra/terraform/modules/aws/events/main.tf").read_text(encoding="utf-8")
    variables = (ROOT / "infra/terraform/aws/variables.tf").read_text(encoding="utf-8")
    document = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    (policy,) = re.findall(r"maxReceiveCount\s*=\s*(\S+)", module)
    (block,) = re.findall(r'^variable "max_receives" \{\n(.*?)^\}', variables, re.DOTALL | re.MULTILINE)
    (default,) = re.findall(r"^  default\s*=\s*(\d+)$", block, re.MULTILINE)
    (documented,) = re.findall(r"after (\d+) receives", document)

    assert policy == "var.max_receives"
    assert (int(documented), MAX_RECEIVES) == (int(default), int(default))
