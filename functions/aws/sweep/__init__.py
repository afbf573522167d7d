"""What has to be done once a minute."""
