"""The archive: files of events in Parquet, in a folder or in a cloud's object storage.

``objects`` moves whole files, ``ranges`` reads parts of them, ``parquet`` writes and reads them with DuckDB. The
packages belong to the extra ``helios[archive]``.
"""

INSTALL = "pip install 'PATH/helios-VERSION-py3-none-any.whl[archive]'"
"""Adds the packages of the archive. It names the wheel: on the package index, ``helios`` is another project."""
