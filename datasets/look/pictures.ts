import type { PicturesView } from '../../core/dataset-view.ts';
import type { KnownImages } from '../found-images.ts';
import type { ImageSize } from '../image.ts';
import { MostCommon } from './most-common.ts';
import { Tally } from './tally.ts';

/** Different sizes that are counted apart. */
const APART = 20_000;
const SHOWN = { sizes: 8, cloud: 400 };

/** Sizes of all pictures; null when there are none. */
export function picturesView(images: KnownImages): PicturesView | null {
  const longer = new Tally();
  const sizes = new MostCommon<ImageSize>(APART);
  const cloud = new MostCommon<ImageSize>(APART);
  const round = (value: number) => Number(value.toPrecision(2));
  let bytes = 0;
  for (const digest of images.keys()) {
    const { width, height, bytes: size } = images.get(digest)!;
    bytes += size;
    longer.add(Math.max(width, height));
    sizes.add(`${width} ${height}`, { width, height });
    const near = { width: round(width), height: round(height) };
    cloud.add(`${near.width} ${near.height}`, near);
  }
  const longerSide = longer.view();
  if (longerSide === null) return null;
  const list = (found: MostCommon<ImageSize>, most: number) =>
    found.top(most).map(({ value, count }) => ({ width: value.width, height: value.height, count }));
  return {
    count: images.size,
    bytes,
    longerSide,
    sizes: list(sizes, SHOWN.sizes),
    distinct: sizes.distinct,
    atLeast: sizes.full,
    cloud: list(cloud, SHOWN.cloud),
  };
}
