"""Commands that developers and the demo run; nothing that is deployed imports them."""
