data "aws_partition" "current" {}

locals {
  service_trust = {
    for service in ["ec2", "ecs-tasks"] : service => jsonencode({
      Version = "2012-10-17"
      Statement = [{
        Effect    = "Allow"
        Principal = { Service = "${service}.amazonaws.com" }
        Action    = "sts:AssumeRole"
      }]
    })
  }
}

# The instance joins the cluster.
resource "aws_iam_role" "instance" {
  name_prefix        = "${var.name}-instance-"
  assume_role_policy = local.service_trust["ec2"]
  tags               = var.tags
}

resource "aws_iam_role_policy_attachment" "instance" {
  role       = aws_iam_role.instance.name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/service-role/AmazonEC2ContainerServiceforEC2Role"
}

resource "aws_iam_instance_profile" "instance" {
  name_prefix = "${var.name}-"
  role        = aws_iam_role.instance.name
  tags        = var.tags
}

# ECS pulls the image, writes the log, reads the secrets that the task names.
resource "aws_iam_role" "execution" {
  name_prefix        = "${var.name}-execution-"
  assume_role_policy = local.service_trust["ecs-tasks"]
  tags               = var.tags
}

resource "aws_iam_role_policy_attachment" "execution" {
  role       = aws_iam_role.execution.name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
}

resource "aws_iam_role_policy" "secrets" {
  count = length(var.secrets) > 0 ? 1 : 0

  name = "secrets"
  role = aws_iam_role.execution.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = ["secretsmanager:GetSecretValue", "ssm:GetParameters"]
      Resource = values(var.secrets)
    }]
  })
}

# The worker itself.
resource "aws_iam_role" "worker" {
  name_prefix        = "${var.name}-worker-"
  assume_role_policy = local.service_trust["ecs-tasks"]
  tags               = var.tags
}

resource "aws_iam_role_policy_attachment" "worker" {
  for_each = var.policy_arns

  role       = aws_iam_role.worker.name
  policy_arn = each.value
}

# While it works it protects its task from scale-in.
resource "aws_iam_role_policy" "protection" {
  name = "task-protection"
  role = aws_iam_role.worker.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = ["ecs:GetTaskProtection", "ecs:UpdateTaskProtection"]
      Resource  = ["*"]
      Condition = { ArnEquals = { "ecs:cluster" = aws_ecs_cluster.gpu.arn } }
    }]
  })
}

# The Temporal server takes this role to set the number of workers, of this one service. It gives the external id: the worker controller
# refuses a role that could be taken without it.
resource "aws_iam_role" "scaler" {
  name        = "${var.name}-scaler"
  description = "Lets the Temporal server size ${var.name}"
  tags        = var.tags
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { AWS = var.temporal_principal }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "sts:ExternalId" = var.external_id } }
    }]
  })
}

resource "aws_iam_role_policy" "scaler" {
  name = "size"
  role = aws_iam_role.scaler.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = ["ecs:DescribeServices", "ecs:UpdateService"]
      Resource = [aws_ecs_service.gpu.id]
    }]
  })
}
