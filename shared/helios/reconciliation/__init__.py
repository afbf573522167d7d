"""Whether the clouds agree: declared flows, the evidence in events, and the verdict on each flow instance.

1. ``declaration`` - the legs of a flow, and the rules on which they must agree
2. ``evidence`` - what an event says about a leg; merging evidence gives the same result in every order of arrival
3. ``evaluate`` - the verdict that follows from the evidence and the clock
4. ``record`` - a flow instance as it is stored, and the sums over many
5. ``summary``, ``timeline``, ``silence``, ``preview`` - what users see of instances, silent clouds and changed rules
"""
