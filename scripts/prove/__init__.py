"""The proof: injects known anomalies into live traffic. Helios must report each of them, and nothing else."""
