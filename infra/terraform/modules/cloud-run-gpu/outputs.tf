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
        # A task that finds no worker starts one at once; what waits after that is worth one worker.
        initial_per_consumer_capacity = 0.05
        target_backlog_drain_rate     = 0.025
        # The controller does not see whether a worker is busy: it scales in so long after the last task that found none.
        no_sync_quiet_ms = var.quiet_minutes * 60000
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
