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
    """Every tracked Markdown file, by its path."""
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True)
    return listed.stdout.splitlines()


def links(text: str) -> Iterator[str]:
    """Every target of a link or an image that is not on another site."""
    for groups in _LINK.findall(_CODE.sub("", _FENCED.sub("", text))):
        target = next(group for group in groups if group)
        if not re.match(r"[a-z][a-z+.-]*:|//", target):
            yield unquote(target)


def anchors(text: str) -> set[str]:
    """What a #fragment may name: the headings as GitHub spells them, and explicit ids."""
    plain = _FENCED.sub("", text)
    seen: Counter[str] = Counter()
    for heading in re.findall(r"^#{1,6} +(.+?)[ #]*$", plain, re.MULTILINE):
        shown = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        seen[slug] += 1
        if seen[slug] > 1:
            seen[f"{slug}-{seen[slug] - 1}"] += 1
    return {*seen, *re.findall(r'(?:id|name)="([^"]+)"', plain)}


def broken(document: str) -> list[str]:
    """The document's links that lead nowhere."""
    found = []
    for link in links((ROOT / document).read_text(encoding="utf-8")):
        path, _, fragment = link.partition("#")
        target = (ROOT / document).parent / path if path else ROOT / document
        if not target.exists() or (
            fragment and target.suffix == ".md" and fragment not in anchors(target.read_text(encoding="utf-8"))
        ):
            found.append(link)
    return found


@pytest.mark.parametrize("document", documents())
def test_every_relative_link_of_a_document_leads_somewhere(document):
    assert broken(document) == []


def test_links_and_anchors_are_read_as_github_reads_them():
    text = (
        '# The `code`, twice!\n## A [link](x.md)\n## A link\n```\n# no heading [no](link.md)\n```\n<a id="own"></a>\n'
    )
    text += '![image](i.png "title") `[no](code.md)` [site](https://x.example) [here](#a-link-1)\n[ref]: r.md#top\n'

    assert anchors(text) == {"the-code-twice", "a-link", "a-link-1", "own"}
    assert list(links(text)) == ["x.md", "i.png", "#a-link-1", "r.md#top"]


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
