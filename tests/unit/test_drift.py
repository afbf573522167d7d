"""The rule that finds plans which never become empty."""

import pytest

from tests.support.drift import find

RESOURCE = """resource "azurerm_function_app_flex_consumption" "this" {{
  app_settings = merge(var.settings, {{
    A = "1"
    {setting}
  }})

  site_config {{
    http2_enabled = true
  }}

  {block} {{
    {arguments}
  }}
}}
"""
RIGHT = {"setting": 'B = "2"', "block": "retry_config", "arguments": "retry_count = 1"}


@pytest.mark.parametrize(
    ("change", "line", "reason"),
    [
        ({"setting": 'AzureWebJobsStorage = ""'}, 4, "AzureWebJobsStorage is an empty string in a map"),
        ({"setting": '"B" = "" # nothing'}, 4, "B is an empty string in a map"),
        ({"arguments": "retry_count = 0"}, 11, "the block retry_config states only default values"),
        ({"arguments": 'retry_count = 0 # none\n    max_retry_duration = "0s"'}, 11, "the block retry_config states"),
        ({"arguments": "enabled = false"}, 11, "the block retry_config states only default values"),
    ],
)
def test_a_value_that_is_never_read_back_is_found(change, line, reason):
    (found,) = find(RESOURCE.format(**RIGHT | change))
    assert (found.line, found.reason.startswith(reason)) == (line, True)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"arguments": "retry_count = 0\n    max_doublings = 5"},
        {"arguments": "retry_count = var.retries"},
        {"arguments": "inner {\n      depth = 1\n    }"},
        {"setting": 'B = "" # drift:skip=the provider reads it back'},
        {"block": "lifecycle", "arguments": "prevent_destroy = false"},
    ],
)
def test_other_code_is_left_alone(change):
    assert list(find(RESOURCE.format(**RIGHT | change))) == []


def test_a_block_is_excused_by_its_reason():
    code = 'resource "a" "b" {\n  expiration_policy { # drift:skip=no expiry\n    ttl = ""\n  }\n}\n'
    assert list(find(code)) == []
    assert len(list(find(code.replace(" # drift:skip=no expiry", "")))) == 1


def test_defaults_of_variables_are_no_settings():
    assert list(find('variable "settings" {\n  default = {\n    A = ""\n  }\n}\n')) == []


def test_a_script_in_a_heredoc_is_not_read():
    code = 'locals {\n  script = <<-EOT\n    a {\n      b = ""\n    EOT\n  other = {\n    c = "d"\n  }\n}\n'
    assert list(find(code)) == []
