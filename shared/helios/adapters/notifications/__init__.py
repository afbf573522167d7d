"""How each kind of receiver is notified: a file for webhooks, one for what Apprise sends, and the words of both."""
