"""Sends a small event past each guard of the API's webhooks, now and then, so that all of them work in the demo too.

The shop's traffic goes through the clouds' functions, which check no proof. These events have a bus and topics of their
own, whose subscriptions lead to the API: ``senders`` makes them and publishes through the vendors' SDKs; the emulators
add the proofs. ``sns`` signs what the AWS emulator leaves unsigned. Nothing here touches the shop's events.
"""
