# GPU workers on a Cloud Run worker pool. Temporal's worker controller (provider gcp-cloud-run) sets the number of instances; Cloud Run itself
# does not scale worker pools with GPUs. An instance that is taken away has about 10 s: it writes a checkpoint and gives its task back.

locals {
  pool = "${var.name}-${replace(var.build_id, ".", "-")}"
}

resource "google_service_account" "worker" {
  project      = var.project
  account_id   = "${substr(var.name, 0, 22)}-worker"
  display_name = "GPU workers of ${var.name}"
}

resource "google_secret_manager_secret_iam_member" "worker" {
  for_each = var.secrets

  project   = var.project
  secret_id = each.value
  role      = "roles/secretmanager.secretAccessor"
  member    = "serviceAccount:${google_service_account.worker.email}"
}

resource "google_cloud_run_v2_worker_pool" "gpu" {
  project             = var.project
  location            = var.region
  name                = local.pool
  launch_stage        = "BETA"
  deletion_protection = false

  scaling {
    scaling_mode          = "MANUAL"
    manual_instance_count = 0 # the worker controller's from now on
  }

  template {
    service_account               = google_service_account.worker.email
    gpu_zonal_redundancy_disabled = true

    node_selector {
      accelerator = var.accelerator
    }

    dynamic "vpc_access" {
      for_each = var.network == null ? [] : [var.network]

      content {
        egress = "PRIVATE_RANGES_ONLY"

        network_interfaces {
          network    = vpc_access.value.network
          subnetwork = vpc_access.value.subnetwork
        }
      }
    }

    containers {
      name  = "gpu"
      image = var.image
      args  = ["worker", "gpu", "--queue", var.queue, "--deployment", var.name, "--build-id", var.build_id]

      resources {
        limits = {
          cpu              = var.cpu
          memory           = var.memory
          "nvidia.com/gpu" = "1"
        }
      }

      dynamic "env" {
        # The cache is memory here: vision features stay in the process unless asked for.
        for_each = merge({ LILORA_FEATURES_GIB = "0" }, var.environment)

        content {
          name  = env.key
          value = env.value
        }
      }

      dynamic "env" {
        for_each = var.secrets

        content {
          name = env.key

          value_source {
            secret_key_ref {
              secret  = env.value
              version = "latest"
            }
          }
        }
      }

      volume_mounts {
        name       = "cache"
        mount_path = "/cache"
      }
    }

    volumes {
      name = "cache"

      empty_dir {
        medium     = "MEMORY"
        size_limit = "16Gi"
      }
    }
  }

  lifecycle {
    ignore_changes = [scaling]
  }

  depends_on = [google_secret_manager_secret_iam_member.worker]
}

# The Temporal server becomes this account to set the number of instances of this one pool.
resource "google_service_account" "scaler" {
  project      = var.project
  account_id   = "${substr(var.name, 0, 22)}-scaler"
  display_name = "Lets the Temporal server size ${var.name}"
}

resource "google_project_iam_custom_role" "scaler" {
  project     = var.project
  role_id     = "${replace(var.name, "-", "_")}_scaler"
  title       = "Sizes worker pools of ${var.name}"
  permissions = ["run.workerpools.get", "run.workerpools.update", "run.operations.get"]
}

resource "google_cloud_run_v2_worker_pool_iam_member" "scaler" {
  project  = var.project
  location = var.region
  name     = google_cloud_run_v2_worker_pool.gpu.name
  role     = google_project_iam_custom_role.scaler.id
  member   = "serviceAccount:${google_service_account.scaler.email}"
}

# Updating a pool that runs as the worker's account means to act as it.
resource "google_service_account_iam_member" "scaler_acts_as_worker" {
  service_account_id = google_service_account.worker.name
  role               = "roles/iam.serviceAccountUser"
  member             = "serviceAccount:${google_service_account.scaler.email}"
}

resource "google_service_account_iam_member" "temporal_becomes_scaler" {
  service_account_id = google_service_account.scaler.name
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = "serviceAccount:${var.temporal_service_account}"
}
