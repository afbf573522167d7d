"""The archive: files of events in Parquet, in a folder or in a cloud's object storage.

``objects`` moves whole files, ``ranges`` reads parts of them, ``parquet`` and ``reader`` write and read them with
DuckDB. Their packages belong to the extra ``helios[archive]``. ``tiered`` reads Postgres too.
"""

INSTALL = "pip install 'PATH/helios-VERSION-py3-none-any.whl[archive]'"
"""Adds the packages of the archive. It names the wheel: on the package index, ``helios`` is another project."""
