"""Azure Functions, Python v2 programming model: one folder, one function app."""
