"""Whether the clouds agree: declared flows, the evidence in events, and the verdict on each flow instance.

1. ``declaration`` - a flow: each ``leg``, and each ``rule`` on which they must agree, with its ``expression``
2. ``evidence`` - what an event says about a leg; merging evidence gives the same result in every order of arrival
3. ``evaluate`` - the verdict that follows from the evidence and the clock
4. ``progress``, ``checks``, ``arithmetic``, ``currency`` - legs with several parts, and computed rules
5. ``record`` - a flow instance as it is stored, and the sums over many
6. ``summary``, ``timeline``, ``silence``, ``preview`` - what users see of instances, silent clouds and changed rules
"""
