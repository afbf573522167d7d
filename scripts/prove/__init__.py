"""The proof: known anomalies are injected into live traffic; Helios must report each of them, and nothing else."""
