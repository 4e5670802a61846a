mock_provider "aws" {
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::111122223333:role/r" }
  }
}

variables {
  package            = "tests/trigger.tftest.hcl" # any file: its digest is taken
  rules              = { schema = 1, rules = [{ bucket = "example-datasets", prefix = "pets/", stream = "pets" }] }
  queue_arn          = "arn:aws:sqs:eu-west-1:111122223333:q"
  environment        = { TEMPORAL_ADDRESS = "temporal.example.org:7233" }
  api_key_secret_arn = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:temporal"
}

run "reports_each_message_by_itself" {
  assert {
    condition     = aws_lambda_event_source_mapping.datasets.function_response_types == toset(["ReportBatchItemFailures"])
    error_message = "One bad message must not hold up the others."
  }
  assert {
    condition     = jsondecode(aws_lambda_function.trigger.environment[0].variables.LILORA_RULES).rules[0].stream == "pets"
    error_message = "The rules reach the function."
  }
}

run "reads_one_secret_and_one_queue" {
  assert {
    condition     = length([for s in jsondecode(aws_iam_role_policy.trigger.policy).Statement : s if s.Resource == ["*"]]) == 0
    error_message = "No rights on everything."
  }
}

run "takes_no_api_key_in_plain_text" {
  command = plan
  variables {
    environment = { TEMPORAL_ADDRESS = "t:7233", TEMPORAL_API_KEY = "key" }
  }
  expect_failures = [var.environment]
}
