variable "name" {
  description = "Name of the function."
  type        = string
  default     = "lilora-trigger"
}

variable "package" {
  description = "The zip that `npm run build` in infra/lambda/trigger makes."
  type        = string
}

variable "rules" {
  description = "The rules, as in docs/triggers.md: {schema = 1, rules = [{bucket, prefix, stream}]}."
  type        = any
}

variable "queue_arn" {
  description = "Queue of dataset events: modules/bucket's."
  type        = string
}

variable "environment" {
  description = "TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, … No secrets."
  type        = map(string)

  validation {
    condition     = contains(keys(var.environment), "TEMPORAL_ADDRESS")
    error_message = "The function needs TEMPORAL_ADDRESS."
  }
  validation {
    condition     = !contains(keys(var.environment), "TEMPORAL_API_KEY")
    error_message = "The API key is read from var.api_key_secret_arn at start; here it would be in plain text."
  }
}

variable "api_key_secret_arn" {
  description = "Secrets Manager secret with the Temporal API key; null without one."
  type        = string
  default     = null
}

variable "subnets" {
  description = "Subnets, when Temporal is in a private network."
  type        = list(string)
  default     = []
}

variable "security_groups" {
  description = "Security groups, with subnets."
  type        = list(string)
  default     = []
}

variable "concurrency" {
  description = "Most invocations at a time: what a storm of events may cost Temporal."
  type        = number
  default     = 4

  validation {
    condition     = var.concurrency >= 2
    error_message = "An event source of SQS takes 2 at least."
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
