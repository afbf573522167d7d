"""The functions that run in the clouds, a folder per cloud; each translates in, calls one flow, translates out."""
