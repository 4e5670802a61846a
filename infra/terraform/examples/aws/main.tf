# The whole of it on AWS: the store, GPU workers on ECS under Temporal's worker controller, datasets that trigger by Lambda. The orchestrator
# runs wherever you like (infra/helm, an ECS service on Fargate, a machine) with the role of output.orchestrator_role.

terraform {
  required_version = ">= 1.7"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 6.0, < 7.0"
    }
  }
}

provider "aws" {
  region = var.region

  default_tags {
    tags = { application = "lilora" }
  }
}

variable "region" {
  description = "Region of everything."
  type        = string
  default     = "eu-west-1"
}

variable "bucket" {
  description = "Name of the bucket of streams."
  type        = string
}

variable "datasets_bucket" {
  description = "Bucket in which datasets land, with EventBridge notifications on."
  type        = string
}

variable "stream" {
  description = "The stream that learns them."
  type        = string
  default     = "pets"
}

variable "temporal" {
  description = "Address and namespace of Temporal, the secret with its API key, and the identity of the server for sizing workers."
  type = object({
    address            = string
    namespace          = string
    api_key_secret_arn = string
    principal          = string
    external_id        = string
  })
}

variable "gpu_image" {
  description = "The gpu image, by digest."
  type        = string
}

variable "build_id" {
  description = "Version of the gpu worker."
  type        = string
  default     = "0.1.0"
}

variable "trigger_package" {
  description = "Zip of infra/lambda/trigger."
  type        = string
}

variable "orchestrator_trust" {
  description = "Trust policy of the orchestrator's role, as JSON: the cluster, service or machine that runs it."
  type        = string
}

variable "network" {
  description = "Where GPU instances run."
  type = object({
    subnets         = list(string)
    security_groups = list(string)
  })
}

locals {
  environment = {
    TEMPORAL_ADDRESS   = var.temporal.address
    TEMPORAL_NAMESPACE = var.temporal.namespace
  }
}

module "bucket" {
  source = "../../modules/bucket"

  name           = var.bucket
  datasets       = { bucket = var.datasets_bucket }
  read_locations = [{ bucket = var.datasets_bucket }]
  access         = { orchestrator = var.orchestrator_trust }
}

module "gpu" {
  source = "../../modules/ecs-gpu"

  name               = "lilora-gpu"
  image              = var.gpu_image
  build_id           = var.build_id
  subnets            = var.network.subnets
  security_groups    = var.network.security_groups
  environment        = merge(local.environment, { LILORA_STORE = module.bucket.store, AWS_REGION = var.region })
  secrets            = { TEMPORAL_API_KEY = var.temporal.api_key_secret_arn }
  policy_arns        = { gpu = module.bucket.policy_arns["gpu"] }
  temporal_principal = var.temporal.principal
  external_id        = var.temporal.external_id
}

module "trigger" {
  source = "../../modules/trigger"

  package            = var.trigger_package
  rules              = { schema = 1, rules = [{ bucket = var.datasets_bucket, stream = var.stream }] }
  queue_arn          = module.bucket.queue_arn
  environment        = local.environment
  api_key_secret_arn = var.temporal.api_key_secret_arn
}

output "store" {
  description = "LILORA_STORE of the orchestrator."
  value       = module.bucket.store
}

output "orchestrator_role" {
  description = "Role of the orchestrator."
  value       = module.bucket.role_arns["orchestrator"]
}

output "provider_file" {
  description = "terraform output -raw provider_file > provider.json, then run the command of `register`."
  value       = module.gpu.provider_file
}

output "register" {
  description = "Makes the Temporal server start GPU workers."
  value       = module.gpu.register
}
