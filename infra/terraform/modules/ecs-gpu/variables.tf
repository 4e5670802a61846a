variable "name" {
  description = "Name of everything here, for example lilora-gpu."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,30}[a-z0-9]$", var.name))
    error_message = "The name has 3 to 32 characters of a-z, 0-9 and -, and does not begin with \"aws\" or \"ecs\" (capacity providers refuse that)."
  }
}

variable "image" {
  description = "The gpu image, by digest."
  type        = string
}

variable "build_id" {
  description = "Version of the worker: one service for each. Use the image's tag or digest."
  type        = string
}

variable "queue" {
  description = "Task queue of this GPU class (`gpuQueue` of streams)."
  type        = string
  default     = "lilora-gpu"
}

variable "instance_type" {
  description = "EC2 instance type with NVIDIA GPUs. One worker takes one GPU, and one instance runs one worker."
  type        = string
  default     = "g6.xlarge"
}

variable "memory_mib" {
  description = "Memory of a worker, in MiB: the instance's, less about 1 GiB for the system."
  type        = number
  default     = 15000
}

variable "max_workers" {
  description = "Most instances at a time."
  type        = number
  default     = 2

  validation {
    condition     = var.max_workers >= 1
    error_message = "At least one worker."
  }
}

variable "volume_gib" {
  description = "Disk of an instance: the image (about 6 GB), models and features."
  type        = number
  default     = 200
}

variable "spot" {
  description = "Use spare capacity. A worker that is taken away costs the work since its last checkpoint."
  type        = bool
  default     = false
}

variable "subnets" {
  description = "Subnets with a way to Temporal, S3 and the image registry."
  type        = list(string)
}

variable "security_groups" {
  description = "Security groups of instances. Workers take no connections."
  type        = list(string)
}

variable "environment" {
  description = "TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, LILORA_STORE, AWS_REGION, … of workers. No secrets."
  type        = map(string)

  validation {
    condition     = alltrue([for name in ["TEMPORAL_ADDRESS", "LILORA_STORE"] : contains(keys(var.environment), name)])
    error_message = "Workers need TEMPORAL_ADDRESS and LILORA_STORE."
  }
  validation {
    condition     = !anytrue([for name in keys(var.environment) : can(regex("(API_KEY|SECRET|PASSWORD|TOKEN)$", name))])
    error_message = "Secrets belong into var.secrets: this map is in plain text in the task definition."
  }
}

variable "secrets" {
  description = "Variables from Secrets Manager or Parameter Store: their ARNs by name, for example TEMPORAL_API_KEY."
  type        = map(string)
  default     = {}
}

variable "policy_arns" {
  description = "Policies of the worker: modules/bucket's for gpu."
  type        = map(string)
}

variable "temporal_principal" {
  description = "ARN of the identity of the Temporal server, which sets the number of workers."
  type        = string
}

variable "external_id" {
  description = "A text that the Temporal server has to give when it takes the role: it must be unique to this namespace."
  type        = string

  validation {
    condition     = length(var.external_id) >= 16
    error_message = "At least 16 characters, for example a UUID."
  }
}

variable "log_days" {
  description = "Days that logs are kept."
  type        = number
  default     = 30
}

variable "tags" {
  description = "Tags of everything."
  type        = map(string)
  default     = {}
}
