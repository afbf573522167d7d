"""Postgres, which decides what is stored.

``connection`` opens connections, ``migrate`` creates the tables, ``unit_of_work`` writes, and ``reader`` reads. Each
topic has a module with its SQL.
"""
