output "provider_file" {
  description = "For `lilora worker register-serverless --provider FILE`: how the worker controller sizes this service."
  value = jsonencode({
    provider = "aws-ecs"
    details = {
      cluster          = aws_ecs_cluster.gpu.arn
      service          = aws_ecs_service.gpu.name
      role             = aws_iam_role.scaler.arn
      role_external_id = var.external_id
    }
    scaler = {
      type = "rate-based"
      details = {
        max_count = var.max_workers
        # A task that finds no worker starts one at once; what waits after that is worth one worker.
        initial_per_consumer_capacity = 0.05
        target_backlog_drain_rate     = 0.025
        # The controller does not see whether a worker is busy; a busy one protects its task, so scaling in may come soon.
        no_sync_quiet_ms = 120000
      }
    }
  })
}

output "register" {
  description = "The command that makes the Temporal server start workers here."
  value       = "lilora worker register-serverless --queue ${var.queue} --deployment ${var.name} --build-id ${var.build_id} --provider provider.json"
}

output "cluster_arn" {
  description = "The cluster."
  value       = aws_ecs_cluster.gpu.arn
}
