variable "project" {
  description = "Google Cloud project."
  type        = string
}

variable "region" {
  description = "Region with GPUs for Cloud Run."
  type        = string
  default     = "europe-west4"
}

variable "name" {
  description = "Name of the worker deployment, for example lilora-gpu."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,29}[a-z0-9]$", var.name))
    error_message = "The name has 2 to 31 characters of a-z, 0-9 and -."
  }
}

variable "image" {
  description = "The gpu image in Artifact Registry, by digest."
  type        = string
}

variable "build_id" {
  description = "Version of the worker. Each version is a pool of its own: keep the old one until its streams are done with it."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9.-]{0,19}$", var.build_id))
    error_message = "The build id has at most 20 characters of a-z, 0-9, . and -."
  }
}

variable "queue" {
  description = "Task queue of this GPU class (`gpuQueue` of streams)."
  type        = string
  default     = "lilora-gpu"
}

variable "accelerator" {
  description = "The GPU: nvidia-l4 (24 GB)."
  type        = string
  default     = "nvidia-l4"
}

variable "cpu" {
  description = "vCPUs of an instance; Cloud Run wants 4 at least beside a GPU."
  type        = string
  default     = "8"
}

variable "memory" {
  description = "Memory of an instance; Cloud Run wants 16Gi at least beside a GPU. /tmp and /cache are in it."
  type        = string
  default     = "32Gi"
}

variable "max_workers" {
  description = "Most instances at a time."
  type        = number
  default     = 2
}

variable "quiet_minutes" {
  description = "Minutes after the last task that found no worker before instances are taken away, busy or not. Short: long trainings start over from their checkpoint, again and again. Long: that much idle time at the end."
  type        = number
  default     = 30

  validation {
    condition     = var.quiet_minutes >= 2
    error_message = "At least two minutes: a start takes longer than less."
  }
}

variable "environment" {
  description = "TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, LILORA_STORE, AWS_REGION, … of workers. No secrets."
  type        = map(string)

  validation {
    condition     = alltrue([for name in ["TEMPORAL_ADDRESS", "LILORA_STORE"] : contains(keys(var.environment), name)])
    error_message = "Workers need TEMPORAL_ADDRESS and LILORA_STORE."
  }
  validation {
    condition     = !anytrue([for name in keys(var.environment) : can(regex("(API_KEY|SECRET|SECRET_ACCESS_KEY|PASSWORD|TOKEN)$", name))])
    error_message = "Secrets belong into var.secrets."
  }
}

variable "secrets" {
  description = "Variables from Secret Manager: secret names by variable, for example AWS_SECRET_ACCESS_KEY."
  type        = map(string)
  default     = {}
}

variable "network" {
  description = "Network and subnetwork, when Temporal is in a private one."
  type = object({
    network    = string
    subnetwork = string
  })
  default = null
}

variable "temporal_service_account" {
  description = "Email of the identity of the Temporal server, which sets the number of instances."
  type        = string
}
