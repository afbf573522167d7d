"""AWS Lambda: each folder is a function. Its zip has the folder, the helios wheel and the requirements."""
