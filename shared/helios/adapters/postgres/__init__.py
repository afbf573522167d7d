"""Postgres: the judge. ``connection`` opens it, ``migrate`` lays it out, ``store`` writes, ``reader`` reads."""
