variable "name" {
  description = "Name of the bucket that holds streams: LILORA_STORE is s3://NAME/PREFIX."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.name))
    error_message = "A bucket name has 3 to 63 characters of a-z, 0-9 and -."
  }
}

variable "prefix" {
  description = "Part of the bucket that the product uses, without slashes at its ends."
  type        = string
  default     = "lilora"

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9/_-]*[a-z0-9]$", var.prefix))
    error_message = "The prefix is a folder name without slashes at its ends."
  }
}

variable "kms_key_arn" {
  description = "Key that encrypts objects; null for S3's own keys (AES256)."
  type        = string
  default     = null
}

variable "read_locations" {
  description = "Where datasets and base models are read from: buckets and prefixes."
  type = list(object({
    bucket = string
    prefix = optional(string, "")
  }))
  default = []
}

variable "datasets" {
  description = "Bucket and prefix whose dataset.json objects trigger; null for none. The bucket must send its events to EventBridge."
  type = object({
    bucket = string
    prefix = optional(string, "")
  })
  default = null
}

variable "noncurrent_days" {
  description = "Days that overwritten and deleted objects can be brought back."
  type        = number
  default     = 30

  validation {
    condition     = var.noncurrent_days >= 1
    error_message = "Keep noncurrent versions for a day at least: it is the only undo."
  }
}

variable "memo_days" {
  description = "Days after which memoised evaluations and answers, and records of how long workers lived, go."
  type        = number
  default     = 180
}

variable "compaction" {
  description = "Let the orchestrator delete what `lilora schedule` compaction finds unused. Without it nothing is ever deleted."
  type        = bool
  default     = true
}

variable "access" {
  description = "Who may take a role, for each of orchestrator, gpu and listener: a trust policy document as JSON. Roles without one are not made."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for role in keys(var.access) : contains(["orchestrator", "gpu", "listener"], role)])
    error_message = "Roles are orchestrator, gpu and listener."
  }
}

variable "tags" {
  description = "Tags of everything."
  type        = map(string)
  default     = {}
}
