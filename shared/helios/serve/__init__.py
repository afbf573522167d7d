"""``helios serve``: all of Helios under one supervisor."""
