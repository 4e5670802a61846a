/*
 * Keys that may be passed over: they say where a sample came from or how it was made, never what is asked or answered. What may
 * be an answer or a part of a question elsewhere (category, hint, score, title, …) is not among them: a person decides.
 */

const NAMES = new Set(
  [
    // of the sample
    'id _id uid uuid guid idx index key sample_id data_id example_id row_id unique_id doc_id pid problem_id prompt_id',
    'question_id questionid qid image_id imageid img_id conversation_id conv_id dialog_id session_id annotation_id ann_id answer_id',
    '__key__ __url__ __index_level_0__ orig_id original_id source_id task_id',
    // of its origin
    'source sources data_source datasource dataset dataset_name dataset_id origin subset split data_split url urls page_url source_url',
    'coco_url flickr_url flickr_300k_url original_url thumbnail_url license licence license_id copyright attribution author creator',
    'date date_captured when timestamp created created_at updated_at create_time version metadata meta',
    // of how it was made
    'model model_name generator generated_by annotator annotator_id worker_id workerid answer_confidence parallel_tool_calls',
    'question_type answer_type language lang tags',
    // of its size
    'width height image_width image_height original_width original_height image_size img_size size_bytes num_turns n_turns turn_count',
    'num_tokens n_tokens token_count num_images n_images image_count images_count',
    // of its files
    'sha256 md5 sha1 hash image_hash image_sha256 image_md5 phash checksum exif status error_message',
    // of what machines thought of it
    'clip_score clip_similarity similarity aesthetic_score aesthetic nsfw punsafe pwatermark watermark_score',
    'relevance_ratings relevance_min visual_dependency_ratings visual_dependency_min image_correspondence_ratings',
    'image_correspondence_min formatting_ratings formatting_min',
  ].flatMap((names) => names.split(' ')),
);

/** Whether a key says nothing that could be learned. */
export const isBookkeeping = (name: string): boolean => NAMES.has(name.toLowerCase()) || /^unnamed: \d+$/i.test(name);
