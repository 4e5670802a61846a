/** One default: its value, its unit, and the reason for it. */
export interface Default<T> {
  readonly value: T;
  readonly unit: string;
  readonly why: string;
}

function entry<T>(value: T, unit: string, why: string): Default<T> {
  return { value, unit, why };
}

/** Every default of the product, in one place. The README's table is checked against it. */
export const DEFAULTS = {
  // learning/methods
  'adapter.rank': entry(16, '', 'r, the same for all methods; LiLoRA’s paper uses 128 on a 7B model'),
  'adapter.alpha': entry(32, '', 'scale = alpha / rank = 2, as in LiLoRA’s paper'),

  'lilora.stabilityWeight': entry(
    1,
    '',
    'λ of the stability loss; the paper gives no number, 1 kept more than 0.1 on a validation stream',
  ),
  'lilora.anchorWeight': entry(1, '', 'μ of the anchor penalty; measured best of 0.3, 1 and 3'),

  'lilora.momentSamples': entry(200, 'samples', 'as LoDA; only where anchoring counts by inputs'),
  'lilora.fisherSamples': entry(
    100,
    'samples',
    'one backward pass each; only where anchoring counts by Fisher information',
  ),
  'lilora.maxInputs': entry(2048, 'inputs', 'of a layer whose inputs count: their moments are inputs × inputs'),

  'start.similarSamples': entry(
    50,
    'samples',
    'one pass for every earlier task; only where a task starts from a similar one',
  ),

  'ewc.weight': entry(400, '', 'λ, as the TRACE code base has it for language models'),
  'ewc.decay': entry(1, '', 'γ: every earlier task counts the same, as in the paper'),
  'ewc.fisherSamples': entry(200, 'samples', 'one backward pass each: a fraction of the training of a task'),
  'lwf.temperature': entry(2, '', 'as in the paper and in released code'),
  'lwf.weight': entry(1, '', 'the paper adds both losses as they are'),
  'replay.perTask': entry(20, 'samples', 'of every earlier task, as in the replay files of MR-LoRA (MCITlib)'),
  'c-lora.orthogonalityWeight': entry(0.1, '', 'λ of the overlap of old and new routes; no number is published'),
  'dac.orthogonalityWeight': entry(0.1, '', 'λ, as in the authors’ code'),
  'fm-lora.stabilityWeight': entry(0.1, '', 'as λ of LiLoRA; only where the shared factors train on'),
  'fm-lora.rankWeight': entry(0.01, '', 'small beside the task loss; only where ranks are chosen'),
  'mixlora.experts': entry(16, 'factors', 'E: pools as large as a LoRA of the default rank'),
  'mixlora.alpha': entry(32, '', '2E, as in the authors’ script'),
  'mixlora.rank': entry(4, 'factors', 'r: a quarter of the pool for each sample'),
  'moelora.experts': entry(8, '', 'E, as in the scripts of CoIN'),
  'mtl-lora.experts': entry(3, 'matrices B', 'as in the authors’ script'),
  'mtl-lora.temperature': entry(0.1, '', 'as in the authors’ script'),
  'mtl-lora.stabilityWeight': entry(0.1, '', 'as λ of LiLoRA; only where the shared factors train on'),
  'o-lora.orthogonalityWeight': entry(0.5, '', 'λ1 of the authors’ script for T5-large, there on plain sums'),
  'o-lora.normWeight': entry(0, '', 'λ2 of the authors’ script for T5-large'),
  'slao.mergeWeight': entry(0.5, 'share', 'the plain mean; only where mergeRule is constant'),

  'lines.alphas': entry(
    [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0],
    '',
    'values of α beside 1, as the paper sweeps them',
  ),
  'lines.reference': entry(
    'previous',
    '',
    'the last task’s change alone: scaling all of it again would add up over tasks',
  ),
  'lines.heldOut': entry(0.1, 'share of the training samples', 'enough to choose one number, little lost for training'),
  'lines.newWeight': entry(
    2,
    '',
    'the new task against all earlier ones, as the paper weighs target and control tasks',
  ),
  'lines.validationSamples': entry(100, 'samples', 'of what is held out: eleven passes over them'),
  'lines.earlierSamples': entry(20, 'samples', 'of every earlier task, as many as replay keeps'),

  'loda.generalWeight': entry(1, '', 'w_G; both branches alike, no number of the paper is known to us'),
  'loda.lookAhead': entry(0.05, '', 'ρ_max of gradient-aligned steps; ours, no number of the paper is known to us'),
  'loda.ridge': entry(1e-3, 'share of the mean', 'ε: old inputs never fill all directions'),
  'loda.momentSamples': entry(200, 'samples', 'one forward pass each: thousands of tokens for hundreds of inputs'),
  'loda.maxInputs': entry(2048, 'inputs', 'of a layer: wider ones take many minutes each on the host'),

  'treelora.weight': entry(0.5, '', 'reg of the authors’ code'),
  'treelora.rounds': entry(16, 'looks', 'at the new task; each earlier task gets at least one while there are fewer'),
  'treelora.roundSamples': entry(4, 'samples', 'of a look, one backward pass each'),
  'merge.density': entry(0.2, 'share of the entries', 'TIES keeps the largest fifth of every update, as in the paper'),

  'icm-lora.snapshots': entry(20, 'adapters', 'of the new task; the paper wants tens of checkpoints'),
  'icm-lora.snapshotSteps': entry(1, 'steps', 'between two of them'),
  'icm-lora.snapshotRate': entry(0.03, 'share', 'of the learning rate: adapters near the one that was trained'),
  'icm-lora.vectorSamples': entry(100, 'samples', 'whose last hidden states make a task vector; one pass each'),
  'icm-lora.vectorSize': entry(64, 'numbers', 'ours: a random projection keeps distances between tasks'),
  'icm-lora.channels': entry([4, 8], '', 'small enough for a CPU; the paper’s: 8, 16 … 256, 256 … 8, twelve'),
  'icm-lora.kernel': entry(7, 'taps', 'the authors’ code'),
  'icm-lora.latent': entry(16, '', 'small as the channels; the authors’ code has 256'),
  'icm-lora.steps': entry(400, 'steps', 'as many as the reconstruction needs; the authors’ code has 2000 epochs'),
  'icm-lora.batchSize': entry(8, 'adapters', 'the authors’ code has 2'),
  'icm-lora.learningRate': entry(1e-2, '', 'for few steps; the authors’ code has 2e-4 for 2000 epochs'),
  'icm-lora.divergence': entry(0.005, '', 'weight of the KL term, as in the authors’ code'),
  'icm-lora.maxError': entry(0.1, 'share', 'of ‖ΔW‖ in the worst layer; above it LoRAs stay stored'),
  'icm-lora.maxLossRise': entry(0.05, 'share', 'of the loss; above it LoRAs stay stored'),
  'icm-lora.lossSamples': entry(100, 'samples', 'of the new task, for that check'),
  'icm-lora.earlierSamples': entry(20, 'samples', 'of every earlier task, for that check; as many as replay keeps'),

  // learning/training
  'training.learningRate': entry(4e-3, '', 'learns every example task; the paper uses 2e-5 at 7B'),
  'training.batchSize': entry(16, 'samples', 'per optimizer step'),
  'training.epochs': entry(2, '', 'at one epoch the example tasks are not learned'),
  'training.microBatchSize': entry(
    16,
    'samples',
    'a whole default batch at once; smaller needs less memory, same result',
  ),
  'training.warmupRatio': entry(0.03, 'share of the steps', 'as in the paper; AdamW has no second moment to trust yet'),
  'training.weightDecay': entry(0, '', 'adapters are small already, and decay pulls the blend of LiLoRA to one half'),
  'training.clipNorm': entry(1, '', 'stops one bad batch; AdamW is blind to the scale of steady gradients'),
  'training.dropout': entry(
    0,
    'share of the inputs',
    'off, so that methods are compared without its noise; the paper uses 0.05',
  ),
  'training.workers': entry(1, 'workers', 'one GPU straight through; more pay for long trainings only (docs/scale.md)'),
  'training.roundSteps': entry(25, 'steps', 'of each worker between two averages'),
  'training.outerLearningRate': entry(
    1,
    '',
    'the plain mean; DiLoCo’s 0.7 with momentum loses in trainings of a few rounds (docs/scale.md)',
  ),
  'training.outerMomentum': entry(0, '', 'DiLoCo’s 0.9 needs hundreds of rounds to pay'),
  'training.refitEpochs': entry(0.3, 'epochs', 'own factors start near their best; most of the gain comes early'),

  // learning/evaluation
  'evaluation.maxNewTokens': entry(40, 'tokens', 'longer than any answer of the examples; the paper allows 1024'),
  'evaluation.batchSize': entry(50, 'samples', 'answered side by side'),
  'evaluation.shardSamples': entry(
    500,
    'samples',
    'ten batches: what a lost worker costs; below it, a shard costs more than another worker brings',
  ),

  // learning/routing
  'router.kind': entry(
    'none',
    '',
    'routing test prompts costs about as much as evaluating them again; who names the task needs none',
  ),
  'router.samples': entry(1000, 'prompts', 'of the training split: mean and spread are known well by then'),
  'router.features': entry(256, 'numbers', 'wider states are projected: a few hundred prompts do not fill more'),
  'router.shrinkage': entry(0.1, 'share', 'of the covariance towards a multiple of the identity'),

  // datasets
  'dataset.maxImagePixels': entry(50_000_000, 'pixels', 'larger images are refused from their header, before decoding'),
  'dataset.maxPaddedPixels': entry(
    200_000_000,
    'pixels',
    'of a picture that a model pads to a square: a thin one must not fill the memory',
  ),
  'dataset.maxImageBytes': entry(64 * 2 ** 20, 'bytes', 'encoded size of one image'),
  'dataset.maxManifestBytes': entry(256 * 2 ** 20, 'bytes', 'a million files at 200 bytes each fit'),
  'dataset.maxFileBytes': entry(
    64 * 2 ** 30,
    'bytes',
    'size of one samples file: it is read piece by piece, but kept on this disk meanwhile',
  ),
  'dataset.maxWholeBytes': entry(256 * 2 ** 20, 'bytes', 'what a reader takes into memory as a whole'),
  'dataset.maxSampleBytes': entry(
    256 * 2 ** 20,
    'bytes',
    'one sample as it is written, with the images in it: one of them is in memory',
  ),
  'dataset.maxUnpackedBytes': entry(
    2 ** 29,
    'bytes',
    'what neighbouring rows of a Parquet file may unpack to: a small file must not fill the memory',
  ),
  'dataset.maxSamples': entry(2_000_000, 'samples', 'over all splits'),
  'dataset.maxTurns': entry(128, 'turns', 'per conversation'),
  'dataset.maxTextLength': entry(100_000, 'characters', 'per turn and per reference'),
  'dataset.maxImagesPerSample': entry(64, 'images', 'per sample'),
  'dataset.maxReferences': entry(100, 'answers', 'accepted answers per sample; VQA has 10'),
  'dataset.maxLeftOut': entry(
    0.01,
    'share of the training samples',
    'a few odd answers do not stop a large dataset; more of them means the wrong chat template',
  ),
  'dataset.maxProblems': entry(1000, 'problems', 'reading stops after so many; the first 20 are shown'),

  // store
  'store.idleSeconds': entry(30, 'seconds', 'a read or write without any data for so long counts as dead'),
  'store.connectSeconds': entry(5, 'seconds', 'a store that does not accept a connection by then is away'),
  'store.readAttempts': entry(
    3,
    '',
    'broken bodies are read again at once; longer trouble is for the activity to retry',
  ),
  'store.requestAttempts': entry(4, '', 'requests that fail in a way that may pass'),
  'store.deniedAttempts': entry(
    7,
    '',
    'steps that a store refuses are tried so often, over about a minute: roles rotate and clocks are set',
  ),
  'store.partMebibytes': entry(16, 'MiB', 'files above it go up in parts, four at a time: 64 MiB of memory'),
  'store.lockSeconds': entry(
    30,
    'seconds',
    'folder store: wait for the lock of another process, held for milliseconds',
  ),

  // workflows and workers
  'gate.forgettingBudget': entry(5, 'points', 'above the noise of 200 test samples (about 3 points)'),
  'gate.minimumGain': entry(0, 'points', 'a task that makes its own score worse is not published'),
  'gate.consolidations': entry([0.5, 1], 'share', 'half-way back, then all the way to the old shared factors'),
  'gate.whenOver': entry('safe', '', 'learning less is better than forgetting; `ask` waits for a person'),
  'limits.trainHours': entry(24, 'hours', 'budget of one training attempt'),
  'limits.heartbeatSeconds': entry(60, 'seconds', 'a step of a large model stays well below'),
  'limits.checkpointSeconds': entry(60, 'seconds', 'work that a lost worker may cost'),
  'rounds.downloads': entry(4, 'files', 'workers’ weights on their way to be averaged: at 7B 1 GB of memory each'),
  'limits.workerRounds': entry(
    4000,
    'workers × rounds',
    'of one training: at six events each, two of them stay below the 51,200 events of a Temporal history',
  ),
  'stream.seed': entry(0, '', 'same seed, same data, same bank'),
  'stream.method': entry('lilora', '', 'the method that measured best'),
  'stream.targets': entry('paper', '', 'MLP layers of the language model and the projector'),
  'fairness.weight': entry(1, '', 'streams that wait for the same workers get equal shares'),
  'engine.quietMinutes': entry(60, 'minutes', 'loading and consolidating a 7B model say nothing for long'),
  'engine.stopSeconds': entry(20, 'seconds', 'time for a last checkpoint before the engine is killed'),
  'worker.shutdownGraceSeconds': entry(8, 'seconds', 'below the 10 s that Cloud Run gives a stopping instance'),
  'fetch.soonFiles': entry(
    3000,
    'files',
    'of a dataset that is fetched within seconds: where no gpu worker lives, one starts meanwhile',
  ),
  'fetch.soonMebibytes': entry(256, 'MiB', 'likewise: a few seconds of one network connection'),
  'worker.featuresGib': entry(
    4,
    'GiB',
    'vision features on the disk of a worker, all models together: 1,800 pictures of LLaVA-1.5. Memory where the disk is memory (Cloud Run): set 0 there',
  ),
  'worker.featuresShare': entry(
    0.25,
    'share',
    'of memory that vision features may take: the rest is for weights and steps. What does not fit is read from the disk when it is needed',
  ),
  'worker.weightsShare': entry(
    0.5,
    'share',
    'of memory that float32 weights may take before 16-bit ones stay as they are stored: steps need the rest',
  ),
  'worker.leaseSeconds': entry(
    10,
    'seconds',
    'a killed worker is billed so much too little at most; costs a few cents a month',
  ),
  'worker.idleExitSeconds': entry(
    5,
    'seconds',
    'of a worker that starts from zero: about what another start would cost',
  ),
  'worker.firstTaskSeconds': entry(
    2,
    'seconds',
    'one that starts from zero and finds nothing: its task went to another',
  ),
  'worker.progressSeconds': entry(
    15,
    'seconds',
    'longest time between progress signals: history stays short, a budget is kept',
  ),
  'worker.heartbeatSeconds': entry(10, 'seconds', 'a busy worker does not poll: its own heartbeat shows that it lives'),

  'worker.protectionMinutes': entry(
    60,
    'minutes',
    'ECS: a hung worker keeps its instance so long, a busy one renews it',
  ),
  'worker.protectionLingerSeconds': entry(30, 'seconds', 'ECS: the next step of a task follows within seconds'),

  // launcher
  'launcher.maxWorkers': entry(1, 'workers', 'a bill has a limit before anybody thought of one; raise it per queue'),
  'launcher.idleExitSeconds': entry(60, 'seconds', 'steps of one task follow each other within seconds'),
  'launcher.startSeconds': entry(300, 'seconds', 'pulling a large image and a model; then the start counts as lost'),
  'launcher.pollSeconds': entry(5, 'seconds', 'two looks make a start: one request to Temporal each'),
  'launcher.requestSeconds': entry(30, 'seconds', 'platforms answer a start at once, or not at all'),
  'launcher.refusedSeconds': entry(
    300,
    'seconds',
    'a refused start (wrong key, no endpoint) waits for a person to mend it',
  ),

  // triggers
  'trigger.maxBodyKibibytes': entry(256, 'KiB', 'an event has 1 KiB per object; queues carried no more for years'),
  'trigger.maxRecords': entry(1000, 'objects', 'in one message; stores send one'),
  'trigger.streamUpdates': entry(4, '', 'side by side to one stream; Temporal allows 10 in flight, others want some'),
  'trigger.answerSeconds': entry(20, 'seconds', 'then the sender is told to come back; common clients wait 30'),
  'trigger.submitMinutes': entry(10, 'minutes', 'a submission is tried so long: some senders never come back'),
  'trigger.pending': entry(10_000, 'submissions', 'waiting at once, below 1 KiB each; more are told to come back'),
  'trigger.rememberMinutes': entry(10, 'minutes', 'an event that comes again by then is answered from memory'),
  'listen.port': entry(8477, '', 'used by nothing well known'),
  'listen.requestsPerSecond': entry(1000, 'requests', 'per source; a gateway sends one for each file of a dataset'),
  'listen.burst': entry(5000, 'requests', 'per source, at once; a wrong secret counts as 100'),
  'listen.maxConnections': entry(1000, 'connections', 'with a whole body each: 256 MiB at the most'),
  'listen.headerSeconds': entry(10, 'seconds', 'a request whose headers take longer is dropped'),
  'listen.requestSeconds': entry(30, 'seconds', 'the same for the whole request'),
  'listen.stopSeconds': entry(8, 'seconds', 'time for what is under way when it is told to stop'),
  'sqs.waitSeconds': entry(20, 'seconds', 'the longest poll that SQS allows: fewest empty answers'),
  'sqs.visibilitySeconds': entry(120, 'seconds', 'a message is hidden so long; well above `trigger.answerSeconds`'),
  'sqs.returnSeconds': entry(30, 'seconds', 'before a message that failed comes back; doubled each time, up to 15 min'),

  // what schedules start
  'sweep.limit': entry(10, 'datasets', 'per run: a wrong prefix costs ten tasks, not a thousand'),
  'drift.limit': entry(5, 'points', 'as much as the gate lets a task lose'),
  'drift.standardErrors': entry(3, '', 'a loss that small test data show by chance once in 700 times is no drift'),
  'drift.history': entry(200, 'measurements', 'per stream; compaction removes older ones'),
  'compact.keepGenerations': entry(10, 'generations', 'besides the head: what a rollback may go back to'),
  'compact.taskDays': entry(7, 'days', 'a failed task may be submitted again and goes on from its checkpoint'),
  'compact.cacheDays': entry(30, 'days', 'evaluations of retired generations are seldom asked for again'),
  'compact.cacheBytes': entry(10_000_000_000, 'bytes', 'some 100 000 evaluations of 500 answers'),
  'compact.uploadDays': entry(2, 'days', 'longer than the longest training attempt'),
  'compact.reportDays': entry(90, 'days', 'what was removed can be read for a quarter'),
  'schedule.sweepEvery': entry('1h', '', 'a look costs one listing; a dataset waits half an hour on average'),
  'schedule.driftWatchEvery': entry('24h', '', 'fresh test data seldom come more often'),
  'schedule.compactEvery': entry('24h', '', 'what it removes is days old: more often finds nothing'),
  'schedule.sweepOverlap': entry('buffer-one', '', 'what lands during a long sweep is swept right after it'),
  'schedule.driftWatchOverlap': entry('skip', '', 'the next run measures the newest data anyway'),
  'schedule.compactOverlap': entry('skip', '', 'the next run removes the same'),
  'schedule.sweepPause': entry(true, '', 'a sweep that fails needs a person: wrong prefix, stopped stream'),
  'schedule.driftWatchPause': entry(false, '', 'an alarm must not end the watch'),
  'schedule.compactPause': entry(true, '', 'a store that cannot be read is mended before more of it goes'),
  'schedule.jitterShare': entry(0.1, 'share of the interval', 'schedules of many streams do not start at once'),
  'schedule.jitterMinutes': entry(10, 'minutes', 'most that a start is put off'),

  // cli
  'predict.maxNewTokens': entry(64, 'tokens', 'one sentence; answers end earlier by themselves'),
} as const;
