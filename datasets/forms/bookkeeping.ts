/*
 * Keys that may be passed over: they say where a sample came from or how it was made, never what is asked or answered. What may
 * be an answer or a part of a question elsewhere (category, hint, score, title, …) is not among them: a person decides.
 */

const NAMES = new Set(
  [
    // of the sample
    'id _id uid uuid guid idx index key sample_id data_id example_id row_id unique_id doc_id pid problem_id prompt_id',
    'question_id qid image_id img_id conversation_id conv_id dialog_id session_id annotation_id ann_id answer_id sentids',
    '__key__ __url__ __index_level_0__ orig_id original_id source_id task_id ucsf_document_id ucsf_document_page_no',
    // of its origin
    'source sources data_source dataset dataset_name dataset_id origin subset split data_split set_name url urls page_url',
    'source_url coco_url flickr_url flickr_300k_url flickr_original_url original_url thumbnail_url license licence license_id',
    'copyright attribution author creator date date_captured when timestamp created created_at updated_at create_time version',
    'metadata meta tags language lang question_type question_types answer_type question_tokens',
    // of how it was made
    'model model_name generator generated_by annotator annotator_id worker_id answer_confidence parallel_tool_calls',
    // of its size
    'width height image_width image_height original_width original_height image_size img_size width_list height_list size_bytes',
    'num_turns n_turns turn_count num_tokens n_tokens token_count num_images n_images image_count images_count',
    // of its files
    'sha256 md5 sha1 hash image_hash image_sha256 image_md5 phash checksum exif status error_message',
    // of what machines thought of it
    'clip_score clip_similarity similarity aesthetic_score aesthetic nsfw punsafe pwatermark watermark_score',
    'relevance_ratings relevance_min visual_dependency_ratings visual_dependency_min image_correspondence_ratings',
    'image_correspondence_min formatting_ratings formatting_min',
  ].flatMap((names) => names.split(' ').map(plain)),
);

/** `questionId`, `question_id` and `question-id` are one name. */
function plain(name: string): string {
  return name.toLowerCase().replaceAll(/[_-]/g, '');
}

/** Whether a key says nothing that could be learned. */
export const isBookkeeping = (name: string): boolean => NAMES.has(plain(name)) || /^unnamed: \d+$/i.test(name);
