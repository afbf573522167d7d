"""Imports of a function at a cold start."""

import subprocess
import sys

LIST_MODULES = "import sys, helios.bootstrap; print('\\n'.join(sys.modules))"


def test_a_function_imports_no_test_double():
    """The in-memory stores are for tests. Importing them would make every cold start longer."""
    process = subprocess.run([sys.executable, "-c", LIST_MODULES], capture_output=True, text=True, check=True)
    modules = set(process.stdout.split())
    assert "helios.bootstrap" in modules
    assert not {name for name in modules if name.startswith(("tests.fakes.store", "tests"))}
