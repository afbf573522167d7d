"""Deliveries of one order, many of which are duplicates or contradict each other, as a strategy of Hypothesis."""

from hypothesis import strategies as st

from tests.support.instances import leg

repeated_deliveries = st.lists(
    st.builds(
        leg,
        st.sampled_from(["order", "payment"]),
        id_=st.sampled_from("0123456789"),
        after=st.sampled_from([0.0, 31.0, 120.0]),
        amount=st.sampled_from([10, 99]),
    ),
    min_size=1,
    max_size=30,
)
