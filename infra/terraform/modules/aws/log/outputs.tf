output "brokers" {
  description = "HELIOS_LOG_BROKERS."
  value       = aws_msk_cluster.this.bootstrap_brokers_sasl_scram
}

output "secret_arn" {
  description = "Secret with the user and the password of the clients, for the files of HELIOS_KAFKA_CONFIG and --kafka-properties."
  value       = aws_secretsmanager_secret.this.arn
}

output "key_arn" {
  description = "Key that encrypts the secret: a client needs kms:Decrypt on it."
  value       = aws_kms_key.this.arn
}
