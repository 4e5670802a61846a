output "function_arn" {
  description = "The function."
  value       = aws_lambda_function.trigger.arn
}
