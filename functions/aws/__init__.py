"""AWS Lambda: one folder is one function and, with the helios wheel and its requirements, one zip."""
