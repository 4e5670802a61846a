# GPU workers on Google Cloud Run under Temporal's serverless workers. The store is an S3 bucket, whose keys are in Secret Manager.

terraform {
  required_version = ">= 1.7"
  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 6.50, < 8.0"
    }
  }
}

provider "google" {
  project = var.project
  region  = var.region
}

variable "project" {
  description = "Google Cloud project."
  type        = string
}

variable "region" {
  description = "Region with GPUs for Cloud Run."
  type        = string
  default     = "europe-west4"
}

variable "image" {
  description = "The gpu image in Artifact Registry, by digest."
  type        = string
}

variable "build_id" {
  description = "Version of the gpu worker."
  type        = string
  default     = "0.1.0"
}

variable "temporal" {
  description = "Address and namespace of Temporal, and the service account of its server."
  type = object({
    address         = string
    namespace       = string
    service_account = string
  })
}

variable "store" {
  description = "LILORA_STORE and the region of its bucket."
  type = object({
    uri    = string
    region = string
  })
}

module "gpu" {
  source = "../../modules/cloud-run-gpu"

  project  = var.project
  region   = var.region
  name     = "lilora-gpu"
  image    = var.image
  build_id = var.build_id
  environment = {
    TEMPORAL_ADDRESS   = var.temporal.address
    TEMPORAL_NAMESPACE = var.temporal.namespace
    LILORA_STORE       = var.store.uri
    AWS_REGION         = var.store.region
  }
  secrets = {
    TEMPORAL_API_KEY      = "temporal-api-key"
    AWS_ACCESS_KEY_ID     = "lilora-s3-access-key-id"
    AWS_SECRET_ACCESS_KEY = "lilora-s3-secret-access-key"
  }
  temporal_service_account = var.temporal.service_account
}

output "provider_file" {
  description = "terraform output -raw provider_file > provider.json, then run the command of `register`."
  value       = module.gpu.provider_file
}

output "register" {
  description = "Makes the Temporal server start GPU workers."
  value       = module.gpu.register
}
