import { continueAsNew, setCurrentDetails, upsertSearchAttributes, workflowInfo } from '@temporalio/workflow';
import { upkeep } from './activities.ts';
import type { Compacted, CompactInput, CompactRequest, CompactResult } from './schedule-contract.ts';
import { compactDetails } from './schedule-details.ts';
import { mustKnow } from './schema.ts';

/** Streams that one run looks at before it rolls over. */
const PAGE = 200;
/** Places that are told one by one: those with most bytes. All others are in their reports. */
const TOLD = 20;

/**
 * Removes what nobody needs any more from the store: of one stream, or of every stream and of what they share. Unless
 * told to `apply`, it only says what would go. Every stream compacts itself: its workflow holds back rollbacks and
 * tasks meanwhile.
 */
export async function compact(input: CompactInput): Promise<CompactResult> {
  mustKnow(input?.schema);
  const { stream, apply = false, carried } = input;
  const { runId, startTime } = workflowInfo();
  const settings = await upkeep.retentionSettings(input);
  const request: CompactRequest = { settings, apply, run: { id: runId, startedAt: startTime.toISOString() } };
  let result: CompactResult = carried?.result ?? { applied: apply, bytes: 0, streams: 0, parts: [] };
  const show = () => setCurrentDetails(compactDetails(result, settings));
  const add = (part: Compacted) => {
    result = withPart(result, part);
    show();
  };
  if (stream !== undefined) upsertSearchAttributes({ LiloraStream: [stream] });
  show();
  const streams =
    stream !== undefined ? [stream] : await upkeep.listStreams({ after: carried?.after ?? '', most: PAGE });
  for (const name of streams) add(await upkeep.requestCompaction({ stream: name, request }));
  if (stream === undefined && streams.length === PAGE)
    await continueAsNew<typeof compact>({ ...input, carried: { after: streams.at(-1)!, result } });
  if (stream === undefined) add(await upkeep.compactShared({ request }));
  return result;
}

function withPart(result: CompactResult, part: Compacted): CompactResult {
  const bytesOf = ({ removed }: Compacted) => removed.reduce((sum, { bytes }) => sum + bytes, 0);
  const worthTelling = part.removed.length > 0 || part.message !== undefined;
  const parts = worthTelling ? [...result.parts, part] : result.parts;
  return {
    ...result,
    bytes: result.bytes + bytesOf(part),
    streams: result.streams + (part.stream === null ? 0 : 1),
    parts: [...parts].sort((a, b) => bytesOf(b) - bytesOf(a)).slice(0, TOLD),
  };
}
