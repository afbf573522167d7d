"""Do the clouds agree? Flows declare which events tell one story; each story gets a verdict.

1. ``declaration`` - which legs a flow has, and where they must agree
2. ``evidence`` - what one event says of one leg; merging is adding up, so that no order of arrival matters
3. ``verdict`` - what follows from the evidence and the clock
4. ``rows`` - how that is told
"""
