"""The error for a port in use says which process uses it and which setting changes it."""

import os
import socket

import pytest

from helios.processes import ports
from helios.processes.ports import HOST, PortTaken, free_port, require_free


def test_a_taken_port_names_the_port_the_setting_and_the_process():
    with socket.create_server((HOST, 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(PortTaken) as taken:
            require_free(port, service="postgres", setting="HELIOS_LOCAL_POSTGRES_PORT")
    message = str(taken.value)
    assert message.startswith(f"Port {port}, which postgres needs, is in use")
    assert f"(process {os.getpid()})" in message
    assert "set HELIOS_LOCAL_POSTGRES_PORT to another port" in message


def test_a_process_of_another_user_has_no_name(monkeypatch):
    monkeypatch.setattr(ports, "_holder", lambda port: None)
    with socket.create_server((HOST, 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(PortTaken) as taken:
            require_free(port, service="postgres", setting="HELIOS_LOCAL_POSTGRES_PORT")
    assert str(taken.value) == (
        f"Port {port}, which postgres needs, is in use by another process. "
        "Stop it, or set HELIOS_LOCAL_POSTGRES_PORT to another port."
    )


def test_a_free_port_is_no_problem():
    require_free(free_port(), service="postgres", setting="HELIOS_LOCAL_POSTGRES_PORT")


def test_a_chosen_port_is_reserved_and_still_open_to_the_server_it_was_chosen_for():
    """The system gives out no port on which a plain bind fails; a server's bind has SO_REUSEADDR."""
    port = free_port()
    with socket.socket() as plain, pytest.raises(OSError, match="in use"):
        plain.bind((HOST, port))
    socket.create_server((HOST, port)).close()
