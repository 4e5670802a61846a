mock_provider "google" {}

variables {
  project                  = "example"
  name                     = "lilora-gpu"
  image                    = "europe-west4-docker.pkg.dev/example/lilora/lilora-gpu@sha256:0"
  build_id                 = "0.1.0"
  environment              = { TEMPORAL_ADDRESS = "pets.a1b2c.tmprl.cloud:7233", LILORA_STORE = "s3://example-lilora/lilora" }
  secrets                  = { TEMPORAL_API_KEY = "temporal-api-key", AWS_SECRET_ACCESS_KEY = "lilora-s3" }
  temporal_service_account = "temporal@example.iam.gserviceaccount.com"
}

run "starts_with_no_instance" {
  assert {
    condition     = google_cloud_run_v2_worker_pool.gpu.scaling[0].manual_instance_count == 0
    error_message = "Nothing runs before a task waits."
  }
  assert {
    condition     = google_cloud_run_v2_worker_pool.gpu.template[0].node_selector[0].accelerator == "nvidia-l4"
    error_message = "Each instance has a GPU."
  }
}

run "has_a_pool_for_each_version" {
  assert {
    condition     = google_cloud_run_v2_worker_pool.gpu.name == "lilora-gpu-0-1-0" && contains(google_cloud_run_v2_worker_pool.gpu.template[0].containers[0].args, "0.1.0")
    error_message = "Worker versioning wants one pool per build id."
  }
}

run "takes_secrets_from_secret_manager" {
  assert {
    condition     = length([for e in google_cloud_run_v2_worker_pool.gpu.template[0].containers[0].env : e if length(e.value_source) == 1]) == 2
    error_message = "Each secret is a reference."
  }
}

run "refuses_secrets_in_plain_text" {
  command = plan
  variables {
    environment = { TEMPORAL_ADDRESS = "t:7233", LILORA_STORE = "s3://b/l", AWS_SECRET_ACCESS_KEY = "x" }
  }
  expect_failures = [var.environment]
}

run "tells_the_worker_controller_where" {
  assert {
    condition     = jsondecode(output.provider_file).details.worker_pool == "lilora-gpu-0-1-0" && jsondecode(output.provider_file).details.region == "europe-west4"
    error_message = "The keys that the gcp-cloud-run provider reads."
  }
}
