import type { Alike, DatasetFacts } from '../datasets/validate.ts';

const MEANING: Readonly<Record<Alike['kind'], string>> = {
  same: 'said twice',
  near: 'the same but for case, white space, punctuation or the encoding of a picture',
  question: 'the same pictures and question with another answer',
};

/** What people want to know of a good dataset, a short line each. */
export function datasetNotes({ leftOutKeys, renamed, alike, unused, leftOut }: DatasetFacts): string[] {
  const [id] = renamed.examples;
  return [
    ...leftOutKeys.map(
      ({ key, why, samples, where }) =>
        `not read: ${key} (${why === 'ignore' ? 'by "ignore"' : why}), in ${samples} samples from ${where} on`,
    ),
    ...(id ? [`ids that repeat: ${renamed.count} made unique by their place, the first ${id.id}`] : []),
    ...alike.map(({ kind, splits: [earlier, later], count, examples }) => {
      const where = earlier === later ? `within ${later}` : `in ${later}, from ${earlier}`;
      const [first] = examples;
      return `alike: ${count} ${where}, ${MEANING[kind]}: the first ${first?.where}, as ${first?.other}`;
    }),
    ...(unused.count > 0 ? [`unused: ${unused.count} listed files, the first ${unused.examples[0]}`] : []),
    ...leftOut.map(({ why }) => `left out of training: ${why}`),
  ];
}
