"""A Ctrl-C that comes while Python still loads a program."""

import subprocess
import sys

import pytest

from helios.processes import interrupts

LOADING = """
import sys, time
from helios.processes import interrupts
interrupts.exit_before_the_start()
sys.stdout.write("loading\\n")
sys.stdout.flush()
time.sleep(60)
"""


@pytest.mark.parametrize("number", interrupts.SIGNALS)
def test_it_ends_the_program_with_one_sentence(number):
    command = [sys.executable, "-c", LOADING]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "loading\n"
        process.send_signal(number)
        _, error = process.communicate(timeout=20)
    assert (process.returncode, error) == (130, "\nInterrupted before anything was started.\n")


def test_the_second_signal_ends_a_shutdown_at_once():
    program = """
import os, signal, time
from helios.processes import interrupts
interrupts.raise_on_the_first()
try:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)
except interrupts.Interrupted as stopping:
    print(stopping, flush=True)
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(60)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=30)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "SIGTERM\n", "")
