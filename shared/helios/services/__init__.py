"""The use cases, one module per verb. Each takes its ports as keywords and depends on no technology."""
