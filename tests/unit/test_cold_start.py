"""What a function imports when it starts cold."""

import subprocess
import sys

LIST_MODULES = "import sys, helios.bootstrap; print('\\n'.join(sys.modules))"


def test_a_function_imports_no_store_of_the_tests():
    """The in-memory stores are for tests: each module of theirs would make every cold start longer."""
    listed = subprocess.run([sys.executable, "-c", LIST_MODULES], capture_output=True, text=True, check=True)
    modules = set(listed.stdout.split())
    assert "helios.bootstrap" in modules
    assert not {name for name in modules if name.startswith(("tests.fakes.store", "tests"))}
