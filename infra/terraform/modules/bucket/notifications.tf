# A dataset counts when its dataset.json has landed: that event, and no other, goes to a queue, and what nobody could take to a second one.

resource "aws_cloudwatch_event_rule" "datasets" {
  count = var.datasets == null ? 0 : 1

  name        = "${var.name}-datasets"
  description = "Datasets that landed in ${var.datasets.bucket}/${var.datasets.prefix}"
  event_pattern = jsonencode({
    source        = ["aws.s3"]
    "detail-type" = ["Object Created"]
    detail = {
      bucket = { name = [var.datasets.bucket] }
      object = { key = [{ wildcard = "${var.datasets.prefix}*dataset.json" }] }
    }
  })
  tags = var.tags
}

resource "aws_sqs_queue" "datasets" {
  count = var.datasets == null ? 0 : 1

  name                       = "${var.name}-datasets"
  message_retention_seconds  = 14 * 24 * 3600
  visibility_timeout_seconds = 180
  receive_wait_time_seconds  = 20
  sqs_managed_sse_enabled    = true
  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead[0].arn
    maxReceiveCount     = 8
  })
  tags = var.tags
}

resource "aws_sqs_queue" "dead" {
  count = var.datasets == null ? 0 : 1

  name                      = "${var.name}-datasets-dead"
  message_retention_seconds = 14 * 24 * 3600
  sqs_managed_sse_enabled   = true
  tags                      = var.tags
}

resource "aws_sqs_queue_redrive_allow_policy" "dead" {
  count = var.datasets == null ? 0 : 1

  queue_url = aws_sqs_queue.dead[0].id
  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [aws_sqs_queue.datasets[0].arn]
  })
}

resource "aws_sqs_queue_policy" "datasets" {
  count = var.datasets == null ? 0 : 1

  queue_url = aws_sqs_queue.datasets[0].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "EventBridge"
        Effect    = "Allow"
        Principal = { Service = "events.amazonaws.com" }
        Action    = "sqs:SendMessage"
        Resource  = aws_sqs_queue.datasets[0].arn
        Condition = { ArnEquals = { "aws:SourceArn" = aws_cloudwatch_event_rule.datasets[0].arn } }
      },
      {
        Sid       = "OnlyTls"
        Effect    = "Deny"
        Principal = "*"
        Action    = "sqs:*"
        Resource  = aws_sqs_queue.datasets[0].arn
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
    ]
  })
}

resource "aws_cloudwatch_event_target" "datasets" {
  count = var.datasets == null ? 0 : 1

  rule = aws_cloudwatch_event_rule.datasets[0].name
  arn  = aws_sqs_queue.datasets[0].arn

  retry_policy {
    maximum_event_age_in_seconds = 86400
    maximum_retry_attempts       = 185
  }

  dead_letter_config {
    arn = aws_sqs_queue.dead[0].arn
  }

  depends_on = [aws_sqs_queue_policy.datasets]
}

resource "aws_sqs_queue_policy" "dead" {
  count = var.datasets == null ? 0 : 1

  queue_url = aws_sqs_queue.dead[0].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "EventBridge"
      Effect    = "Allow"
      Principal = { Service = "events.amazonaws.com" }
      Action    = "sqs:SendMessage"
      Resource  = aws_sqs_queue.dead[0].arn
      Condition = { ArnEquals = { "aws:SourceArn" = aws_cloudwatch_event_rule.datasets[0].arn } }
    }]
  })
}

resource "aws_cloudwatch_metric_alarm" "dead" {
  count = var.datasets == null ? 0 : 1

  alarm_name          = "${var.name}-datasets-dead"
  alarm_description   = "Datasets landed that could not be submitted: look at the queue and send it back with a redrive."
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateNumberOfMessagesVisible"
  dimensions          = { QueueName = aws_sqs_queue.dead[0].name }
  statistic           = "Maximum"
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  period              = 300
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  tags                = var.tags
}
