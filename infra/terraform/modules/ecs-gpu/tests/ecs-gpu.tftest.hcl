mock_provider "aws" {
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_region" {
    defaults = { region = "eu-west-1" }
  }
  mock_resource "aws_ecs_cluster" {
    defaults = { arn = "arn:aws:ecs:eu-west-1:111122223333:cluster/lilora-gpu" }
  }
  mock_resource "aws_ecs_service" {
    defaults = { id = "arn:aws:ecs:eu-west-1:111122223333:service/lilora-gpu/x" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::111122223333:role/r" }
  }
}

variables {
  name               = "lilora-gpu"
  image              = "111122223333.dkr.ecr.eu-west-1.amazonaws.com/lilora-gpu@sha256:0"
  build_id           = "0.1.0"
  subnets            = ["subnet-1"]
  security_groups    = ["sg-1"]
  environment        = { TEMPORAL_ADDRESS = "temporal.example.org:7233", LILORA_STORE = "s3://example-lilora/lilora" }
  secrets            = { TEMPORAL_API_KEY = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:temporal" }
  policy_arns        = { gpu = "arn:aws:iam::111122223333:policy/p" }
  temporal_principal = "arn:aws:iam::111122223333:role/temporal"
  external_id        = "0b7f3c1e-1111-2222-3333-444455556666"
}

run "starts_with_nothing_and_lets_the_controller_decide" {
  assert {
    condition     = aws_ecs_service.gpu.desired_count == 0 && aws_autoscaling_group.gpu.min_size == 0
    error_message = "Nothing runs before a task waits."
  }
  assert {
    condition     = aws_ecs_capacity_provider.gpu.auto_scaling_group_provider[0].managed_termination_protection == "ENABLED" && aws_autoscaling_group.gpu.protect_from_scale_in
    error_message = "An instance with a task on it is not ended."
  }
}

run "gives_one_gpu_and_no_rights_of_the_system" {
  assert {
    condition     = jsondecode(aws_ecs_task_definition.gpu.container_definitions)[0].resourceRequirements == [{ type = "GPU", value = "1" }]
    error_message = "One worker, one GPU."
  }
  assert {
    condition     = jsondecode(aws_ecs_task_definition.gpu.container_definitions)[0].readonlyRootFilesystem && jsondecode(aws_ecs_task_definition.gpu.container_definitions)[0].user == "10001:10001"
    error_message = "Not root, nothing written."
  }
}

run "has_no_secret_in_plain_text" {
  command = plan
  variables {
    environment = { TEMPORAL_ADDRESS = "t:7233", LILORA_STORE = "s3://b/l", TEMPORAL_API_KEY = "key" }
  }
  expect_failures = [var.environment]
}

run "tells_the_worker_controller_where" {
  assert {
    condition     = jsondecode(output.provider_file).provider == "aws-ecs" && jsondecode(output.provider_file).details.cluster == "arn:aws:ecs:eu-west-1:111122223333:cluster/lilora-gpu"
    error_message = "The keys that the aws-ecs provider reads."
  }
  assert {
    condition     = jsondecode(aws_iam_role.scaler.assume_role_policy).Statement[0].Condition.StringEquals["sts:ExternalId"] == var.external_id
    error_message = "The role cannot be taken without the external id."
  }
}
