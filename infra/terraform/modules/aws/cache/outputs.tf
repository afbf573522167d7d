output "url" {
  description = "rediss:// URL: TLS, which ElastiCache Serverless always requires."
  value       = "rediss://${aws_elasticache_serverless_cache.this.endpoint[0].address}:${aws_elasticache_serverless_cache.this.endpoint[0].port}/0"
}
