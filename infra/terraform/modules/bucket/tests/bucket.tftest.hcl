mock_provider "aws" {
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_resource "aws_s3_bucket" {
    defaults = { id = "example-lilora", arn = "arn:aws:s3:::example-lilora" }
  }
  mock_resource "aws_sqs_queue" {
    defaults = { arn = "arn:aws:sqs:eu-west-1:111122223333:q", id = "https://sqs.eu-west-1.amazonaws.com/111122223333/q" }
  }
  mock_resource "aws_iam_policy" {
    defaults = { arn = "arn:aws:iam::111122223333:policy/p" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::111122223333:role/r" }
  }
}

variables {
  name           = "example-lilora"
  read_locations = [{ bucket = "example-models", prefix = "llava/" }]
  datasets       = { bucket = "example-datasets", prefix = "pets/" }
  access         = { gpu = "{}" }
}

run "keeps_the_bucket_closed" {
  assert {
    condition     = alltrue([for s in jsondecode(aws_s3_bucket_policy.store.policy).Statement : s.Effect == "Deny" && s.Principal == "*"])
    error_message = "The bucket's own policy only denies."
  }
  assert {
    condition     = aws_s3_bucket_public_access_block.store.restrict_public_buckets && aws_s3_bucket_public_access_block.store.block_public_policy
    error_message = "No public access."
  }
  assert {
    condition     = output.store == "s3://example-lilora/lilora"
    error_message = "LILORA_STORE is where the policies allow."
  }
}

run "lets_a_gpu_worker_publish_nothing" {
  assert {
    condition = alltrue(flatten([
      for s in jsondecode(aws_iam_policy.role["gpu"].policy).Statement : [
        for at in s.Resource : !strcontains(at, "generations") && !endswith(at, "head.json")
      ] if contains(s.Action, "s3:PutObject") || contains(s.Action, "s3:DeleteObject")
    ]))
    error_message = "Only the orchestrator writes generations and heads."
  }
  assert {
    condition = alltrue(flatten([
      for s in jsondecode(aws_iam_policy.role["gpu"].policy).Statement : [
        for at in s.Resource : startswith(at, "arn:aws:s3:::example-lilora/lilora/")
      ] if contains(s.Action, "s3:PutObject")
    ]))
    error_message = "Nothing is written outside of the prefix."
  }
}

run "deletes_no_head" {
  assert {
    condition = alltrue(flatten([
      for role in ["gpu", "orchestrator"] : [
        for s in jsondecode(aws_iam_policy.role[role].policy).Statement : [
          for at in s.Resource : can(regex("/(tasks|generations|drift|compactions|cache|launches|workers|[.]probe)/", at))
        ] if contains(s.Action, "s3:DeleteObject")
      ]
    ]))
    error_message = "Heads and definitions cannot be deleted by any role."
  }
}

run "without_compaction_the_orchestrator_deletes_nothing" {
  variables {
    compaction = false
  }
  assert {
    condition = alltrue(flatten([
      for s in jsondecode(aws_iam_policy.role["orchestrator"].policy).Statement : [
        for at in s.Resource : endswith(at, "/.probe/*")
      ] if contains(s.Action, "s3:DeleteObject")
    ]))
    error_message = "Deletion is for compaction only."
  }
}

run "hears_of_manifests_only" {
  assert {
    condition     = jsondecode(aws_cloudwatch_event_rule.datasets[0].event_pattern).detail.object.key[0].wildcard == "pets/*dataset.json"
    error_message = "Only a manifest triggers."
  }
  assert {
    condition     = jsondecode(aws_sqs_queue.datasets[0].redrive_policy).maxReceiveCount == 8
    error_message = "What cannot be taken ends in the second queue."
  }
}

run "has_no_queue_without_datasets" {
  variables {
    datasets = null
  }
  assert {
    condition     = output.queue_url == null && length(aws_sqs_queue.dead) == 0
    error_message = "No queue that nobody reads."
  }
}

run "refuses_other_roles" {
  command = plan
  variables {
    access = { admin = "{}" }
  }
  expect_failures = [var.access]
}
