"""The places in the clouds from which a missing leg can be brought back."""
