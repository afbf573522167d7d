"""Azure Functions in the Python v2 programming model. This folder is one function app."""
