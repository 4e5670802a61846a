output "provider_file" {
  description = "For `lilora worker register-serverless --provider FILE`: how the worker controller sizes this pool."
  value = jsonencode({
    provider = "gcp-cloud-run"
    details = {
      project         = var.project
      region          = var.region
      worker_pool     = google_cloud_run_v2_worker_pool.gpu.name
      service_account = google_service_account.scaler.email
    }
    scaler = {
      type = "rate-based"
      details = {
        max_count = var.max_workers
        # One worker does one task at a time, and a task takes minutes: size by what waits, not by tasks per second.
        initial_per_consumer_capacity = 0.01
        target_backlog_drain_rate     = 0.01
        scale_down_cooldown_ms        = 60000
      }
    }
  })
}

output "register" {
  description = "The command that makes the Temporal server start workers here."
  value       = "lilora worker register-serverless --queue ${var.queue} --deployment ${var.name} --build-id ${var.build_id} --provider provider.json"
}

output "worker_service_account" {
  description = "The identity of workers."
  value       = google_service_account.worker.email
}
