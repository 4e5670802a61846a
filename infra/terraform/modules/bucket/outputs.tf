output "store" {
  description = "LILORA_STORE of every process."
  value       = "s3://${aws_s3_bucket.store.id}/${var.prefix}"
}

output "bucket_arn" {
  description = "The bucket."
  value       = aws_s3_bucket.store.arn
}

output "policy_arns" {
  description = "Policies by role, for roles that are made elsewhere."
  value       = { for role, policy in aws_iam_policy.role : role => policy.arn }
}

output "role_arns" {
  description = "The roles that were made."
  value       = { for role, made in aws_iam_role.role : role => made.arn }
}

output "queue_url" {
  description = "Queue of dataset events for `lilora listen --sqs`, if any."
  value       = one(aws_sqs_queue.datasets[*].id)
}

output "queue_arn" {
  description = "The same queue, for a Lambda function."
  value       = one(aws_sqs_queue.datasets[*].arn)
}
