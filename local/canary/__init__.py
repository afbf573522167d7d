"""Sends a small event through each authenticator of the API's webhooks at intervals, to test all of them in the demo.

The shop's traffic goes through the clouds' functions, which check no credentials. Canary events have a bus and topics
of their own, whose subscriptions deliver to the API: ``senders`` creates them and publishes through the vendors' SDKs;
the emulators add the credentials. ``sns`` signs the messages that the AWS emulator leaves unsigned. The shop's events
are not affected.
"""
