# One policy per role, each with no more than its process does.

locals {
  read_objects = concat(["${local.store}/*"], [for at in var.read_locations : "arn:${local.partition}:s3:::${at.bucket}/${at.prefix}*"])
  read_buckets = distinct(concat([local.bucket], [for at in var.read_locations : "arn:${local.partition}:s3:::${at.bucket}"]))

  read = [
    {
      Sid      = "Read"
      Effect   = "Allow"
      Action   = ["s3:GetObject", "s3:GetObjectVersion"]
      Resource = local.read_objects
    },
    {
      Sid      = "List"
      Effect   = "Allow"
      Action   = ["s3:ListBucket", "s3:GetBucketLocation"]
      Resource = local.read_buckets
    },
  ]

  key = var.kms_key_arn == null ? [] : [{
    Sid      = "Key"
    Effect   = "Allow"
    Action   = ["kms:Decrypt", "kms:GenerateDataKey"]
    Resource = [var.kms_key_arn]
  }]

  # A worker that trains writes what its tasks make and what everybody may memoise. It cannot publish: neither generations nor heads.
  gpu_places = ["${local.store}/streams/*/tasks/*", "${local.store}/cache/*", "${local.store}/workers/*"]

  statements = {
    gpu = concat(local.read, local.key, [
      {
        Sid      = "WriteTasks"
        Effect   = "Allow"
        Action   = ["s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
        Resource = local.gpu_places
      },
      {
        Sid      = "DropOldCheckpoints"
        Effect   = "Allow"
        Action   = ["s3:DeleteObject"]
        Resource = ["${local.store}/streams/*/tasks/*/checkpoints/*"]
      },
    ])

    orchestrator = concat(local.read, local.key, [
      {
        Sid      = "Write"
        Effect   = "Allow"
        Action   = ["s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
        Resource = ["${local.store}/*"]
      },
      {
        # At start it probes that the store has conditional writes.
        Sid      = "RemoveProbe"
        Effect   = "Allow"
        Action   = ["s3:DeleteObject"]
        Resource = ["${local.store}/.probe/*"]
      },
      {
        Sid      = "FindUnfinishedUploads"
        Effect   = "Allow"
        Action   = ["s3:ListBucketMultipartUploads"]
        Resource = [local.bucket]
      },
      ], var.compaction ? [{
        # Heads and definitions are never deleted; everything else can be brought back for noncurrent_days.
        Sid    = "Compact"
        Effect = "Allow"
        Action = ["s3:DeleteObject"]
        Resource = concat(local.gpu_places, [
          "${local.store}/streams/*/generations/*",
          "${local.store}/streams/*/drift/*",
          "${local.store}/streams/*/compactions/*",
          "${local.store}/compactions/*",
          "${local.store}/launches/*",
        ])
    }] : [])

    # It only hears of objects; it reads none.
    listener = var.datasets == null ? [] : [{
      Sid      = "TakeEvents"
      Effect   = "Allow"
      Action   = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", "sqs:GetQueueAttributes"]
      Resource = [aws_sqs_queue.datasets[0].arn]
    }]
  }
}

resource "aws_iam_policy" "role" {
  for_each = { for role, statements in local.statements : role => statements if length(statements) > 0 }

  name        = "${var.name}-${each.key}"
  description = "What the ${each.key} of LiLoRA pipeline does with ${var.name}"
  policy      = jsonencode({ Version = "2012-10-17", Statement = each.value })
  tags        = var.tags
}

resource "aws_iam_role" "role" {
  for_each = var.access

  name                 = "${var.name}-${each.key}"
  description          = "The ${each.key} of LiLoRA pipeline"
  assume_role_policy   = each.value
  max_session_duration = 43200
  tags                 = var.tags
}

resource "aws_iam_role_policy_attachment" "role" {
  for_each = { for role, _ in var.access : role => role if contains(keys(aws_iam_policy.role), role) }

  role       = aws_iam_role.role[each.key].name
  policy_arn = aws_iam_policy.role[each.key].arn
}
