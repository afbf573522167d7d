"""Postgres and Valkey from wheels (the extra ``helios[embedded]``), for ``helios serve``, the demo and the tests."""
