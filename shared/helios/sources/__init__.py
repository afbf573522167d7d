"""The sources of events: the three clouds and those that HELIOS_SOURCES_FILE declares.

``declaration`` reads the file, ``registry`` knows every source by its name, and ``payload`` finds the values in a
payload that the declaration of its source names.
"""
