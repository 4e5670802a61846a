# GPU workers on ECS with EC2 capacity (Fargate has no GPU). Temporal's worker controller (provider aws-ecs) sets the service's desired count;
# ECS managed scaling follows with instances, down to none.

data "aws_region" "current" {}

data "aws_ssm_parameter" "image" {
  name = "/aws/service/ecs/optimized-ami/amazon-linux-2023/gpu/recommended/image_id"
}

resource "aws_ecs_cluster" "gpu" {
  name = var.name
  tags = var.tags

  setting {
    name  = "containerInsights"
    value = "enabled"
  }
}

resource "aws_launch_template" "gpu" {
  name_prefix            = "${var.name}-"
  image_id               = data.aws_ssm_parameter.image.value
  instance_type          = var.instance_type
  vpc_security_group_ids = var.security_groups
  update_default_version = true
  user_data = base64encode(<<-EOT
    #!/bin/bash
    cat >> /etc/ecs/ecs.config <<'CONFIG'
    ECS_CLUSTER=${aws_ecs_cluster.gpu.name}
    ECS_ENABLE_GPU_SUPPORT=true
    ECS_CONTAINER_STOP_TIMEOUT=120s
    ECS_ENABLE_SPOT_INSTANCE_DRAINING=true
    ECS_AWSVPC_BLOCK_IMDS=true
    CONFIG
  EOT
  )
  tags = var.tags

  iam_instance_profile {
    arn = aws_iam_instance_profile.instance.arn
  }

  metadata_options {
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  block_device_mappings {
    device_name = "/dev/xvda"

    ebs {
      volume_size           = var.volume_gib
      volume_type           = "gp3"
      throughput            = 500
      iops                  = 6000
      encrypted             = true
      delete_on_termination = true
    }
  }

  tag_specifications {
    resource_type = "instance"
    tags          = merge(var.tags, { Name = var.name })
  }
}

resource "aws_autoscaling_group" "gpu" {
  name_prefix           = "${var.name}-"
  min_size              = 0
  max_size              = var.max_workers
  desired_capacity      = 0
  vpc_zone_identifier   = var.subnets
  protect_from_scale_in = true # ECS ends instances when no task runs on them

  mixed_instances_policy {
    instances_distribution {
      on_demand_percentage_above_base_capacity = var.spot ? 0 : 100
      spot_allocation_strategy                 = "price-capacity-optimized"
    }

    launch_template {
      launch_template_specification {
        launch_template_id = aws_launch_template.gpu.id
        version            = aws_launch_template.gpu.latest_version
      }
    }
  }

  tag {
    key                 = "AmazonECSManaged"
    value               = "true"
    propagate_at_launch = true
  }

  dynamic "tag" {
    for_each = var.tags

    content {
      key                 = tag.key
      value               = tag.value
      propagate_at_launch = true
    }
  }

  lifecycle {
    ignore_changes = [desired_capacity]
  }
}

resource "aws_ecs_capacity_provider" "gpu" {
  name = var.name
  tags = var.tags

  auto_scaling_group_provider {
    auto_scaling_group_arn         = aws_autoscaling_group.gpu.arn
    managed_termination_protection = "ENABLED"
    managed_draining               = "ENABLED"

    managed_scaling {
      status                    = "ENABLED"
      target_capacity           = 100 # no spare instance
      minimum_scaling_step_size = 1
      maximum_scaling_step_size = var.max_workers
      instance_warmup_period    = 60
    }
  }
}

resource "aws_ecs_cluster_capacity_providers" "gpu" {
  cluster_name       = aws_ecs_cluster.gpu.name
  capacity_providers = [aws_ecs_capacity_provider.gpu.name]

  default_capacity_provider_strategy {
    capacity_provider = aws_ecs_capacity_provider.gpu.name
    weight            = 1
  }
}

resource "aws_cloudwatch_log_group" "gpu" {
  name              = "/lilora/${var.name}"
  retention_in_days = var.log_days
  tags              = var.tags
}

resource "aws_ecs_task_definition" "gpu" {
  family                   = var.name
  requires_compatibilities = ["EC2"]
  network_mode             = "awsvpc"
  execution_role_arn       = aws_iam_role.execution.arn
  task_role_arn            = aws_iam_role.worker.arn
  tags                     = var.tags

  container_definitions = jsonencode([{
    name      = "gpu"
    image     = var.image
    essential = true
    command   = ["worker", "gpu", "--queue", var.queue, "--deployment", var.name, "--build-id", var.build_id]
    memory    = var.memory_mib
    resourceRequirements = [
      { type = "GPU", value = "1" },
    ]
    environment            = [for name, value in var.environment : { name = name, value = value }]
    secrets                = [for name, arn in var.secrets : { name = name, valueFrom = arn }]
    readonlyRootFilesystem = true
    user                   = "10001:10001"
    # A worker that is stopped writes a checkpoint and gives its task back.
    stopTimeout = 120
    linuxParameters = {
      initProcessEnabled = true
      capabilities       = { drop = ["ALL"] }
      tmpfs              = []
    }
    mountPoints = [
      { sourceVolume = "tmp", containerPath = "/tmp", readOnly = false },
      { sourceVolume = "cache", containerPath = "/cache", readOnly = false },
    ]
    healthCheck = {
      command     = ["CMD-SHELL", "test -n \"$(find /tmp/lilora-alive -mmin -1)\""]
      interval    = 30
      timeout     = 5
      retries     = 3
      startPeriod = 120
    }
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        "awslogs-group"         = aws_cloudwatch_log_group.gpu.name
        "awslogs-region"        = data.aws_region.current.region
        "awslogs-stream-prefix" = "gpu"
      }
    }
  }])

  # Docker volumes take over the owner of the image's folders: /cache is the worker's there.
  volume {
    name = "tmp"
    docker_volume_configuration {
      scope  = "task"
      driver = "local"
    }
  }

  volume {
    name = "cache"
    docker_volume_configuration {
      scope         = "shared"
      autoprovision = true
      driver        = "local"
    }
  }
}

resource "aws_ecs_service" "gpu" {
  name                               = "${var.name}-${substr(sha256(var.build_id), 0, 8)}"
  cluster                            = aws_ecs_cluster.gpu.id
  task_definition                    = aws_ecs_task_definition.gpu.arn
  desired_count                      = 0 # the worker controller's from now on
  deployment_minimum_healthy_percent = 0
  deployment_maximum_percent         = 100 # a GPU is not free for two
  enable_ecs_managed_tags            = true
  propagate_tags                     = "SERVICE"
  wait_for_steady_state              = false
  tags                               = var.tags

  capacity_provider_strategy {
    capacity_provider = aws_ecs_capacity_provider.gpu.name
    weight            = 1
  }

  network_configuration {
    subnets         = var.subnets
    security_groups = var.security_groups
  }

  placement_constraints {
    type = "distinctInstance"
  }

  lifecycle {
    ignore_changes = [desired_count]
  }

  depends_on = [aws_ecs_cluster_capacity_providers.gpu]
}
