"""What Helios does, one module per verb; each takes its ports as keywords and knows no technology."""
