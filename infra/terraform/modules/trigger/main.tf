# The Lambda function that submits datasets as their events come out of the queue.

data "aws_partition" "current" {}

locals {
  in_vpc = length(var.subnets) > 0
}

resource "aws_cloudwatch_log_group" "trigger" {
  name              = "/aws/lambda/${var.name}"
  retention_in_days = var.log_days
  tags              = var.tags
}

resource "aws_iam_role" "trigger" {
  name_prefix = "${var.name}-"
  tags        = var.tags
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "lambda.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_role_policy" "trigger" {
  name = "trigger"
  role = aws_iam_role.trigger.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat([
      {
        Sid      = "Log"
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = ["${aws_cloudwatch_log_group.trigger.arn}:*"]
      },
      {
        Sid      = "TakeEvents"
        Effect   = "Allow"
        Action   = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]
        Resource = [var.queue_arn]
      },
      ], var.api_key_secret_arn == null ? [] : [{
        Sid      = "ReadApiKey"
        Effect   = "Allow"
        Action   = ["secretsmanager:GetSecretValue"]
        Resource = [var.api_key_secret_arn]
    }])
  })
}

resource "aws_iam_role_policy_attachment" "vpc" {
  count = local.in_vpc ? 1 : 0

  role       = aws_iam_role.trigger.name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/service-role/AWSLambdaVPCAccessExecutionRole"
}

resource "aws_lambda_function" "trigger" {
  function_name    = var.name
  description      = "Submits datasets to LiLoRA streams"
  role             = aws_iam_role.trigger.arn
  runtime          = "nodejs22.x"
  architectures    = ["x86_64"]
  handler          = "index.handler"
  filename         = var.package
  source_code_hash = filebase64sha256(var.package)
  memory_size      = 512
  timeout          = 30
  tags             = var.tags

  environment {
    variables = merge(
      var.environment,
      { LILORA_RULES = jsonencode(var.rules) },
      var.api_key_secret_arn == null ? {} : { TEMPORAL_API_KEY_SECRET_ARN = var.api_key_secret_arn },
    )
  }

  dynamic "vpc_config" {
    for_each = local.in_vpc ? [1] : []

    content {
      subnet_ids         = var.subnets
      security_group_ids = var.security_groups
    }
  }

  depends_on = [aws_cloudwatch_log_group.trigger, aws_iam_role_policy.trigger]
}

resource "aws_lambda_event_source_mapping" "datasets" {
  event_source_arn                   = var.queue_arn
  function_name                      = aws_lambda_function.trigger.arn
  batch_size                         = 10
  maximum_batching_window_in_seconds = 0
  function_response_types            = ["ReportBatchItemFailures"] # one bad message does not hold up the others

  scaling_config {
    maximum_concurrency = var.concurrency
  }
}
